//! Talks to a VMM through its control socket.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

#[derive(clap::Args)]
pub(crate) struct Control {
    /// The socket.
    socket: PathBuf,
    /// One line of JSON.
    request: String,
    /// What the answer, or with it a later line, must contain.
    #[arg(long)]
    until: Option<String>,
    /// How many seconds to wait for that.
    #[arg(long, default_value_t = 30)]
    within: u64,
}

impl Control {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(self.within);
        let mut stream = self.connect(deadline)?;
        writeln!(stream, "{}", self.request)?;
        let mut lines = BufReader::new(stream.try_clone()?);
        let mut answered = false;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("{} is not answered as expected in {} s", self.request, self.within);
            }
            stream.set_read_timeout(Some(left))?;
            let mut line = String::new();
            if lines.read_line(&mut line).with_context(|| format!("no answer to {}", self.request))? == 0 {
                bail!("the VMM hung up");
            }
            println!("@@ control: {}", line.trim());
            answered |= !line.contains("\"event\"");
            let found = self.until.as_ref().is_none_or(|text| line.contains(text));
            if line.contains("\"error\"") && !found {
                bail!("refused");
            }
            if answered && found {
                return Ok(());
            }
        }
    }

    /// The VMM may still be starting.
    fn connect(&self, deadline: Instant) -> anyhow::Result<UnixStream> {
        loop {
            match UnixStream::connect(&self.socket) {
                Ok(stream) => return Ok(stream),
                Err(error) if Instant::now() >= deadline => {
                    return Err(error)
                        .with_context(|| format!("cannot connect to {}", self.socket.display()));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }
}
