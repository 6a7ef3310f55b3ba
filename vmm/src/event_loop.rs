//! The one thread that waits for the host: timers, the terminal, notifications, interrupts to forward.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use event_manager::{EventManager, EventOps, Events, MutEventSubscriber, SubscriberOps};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// Something the loop serves.
type Subscriber = Box<dyn MutEventSubscriber + Send>;

/// The loop itself, run by the program's first thread.
pub struct EventLoop {
    manager: EventManager<Subscriber>,
    ended: Arc<AtomicBool>,
    end: EventFd,
}

/// Ends the loop, from any thread.
pub struct Ender {
    ended: Arc<AtomicBool>,
    event: EventFd,
}

impl Ender {
    /// Ends the loop after what it is at.
    pub fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        // A full counter wakes the loop just as well.
        let _ = self.event.write(1);
    }
}

/// Wakes the loop up, nothing else.
struct Wake(EventFd);

impl MutEventSubscriber for Wake {
    fn process(&mut self, _events: Events, _ops: &mut EventOps) {
        let _ = self.0.read();
    }

    fn init(&mut self, ops: &mut EventOps) {
        if let Err(error) = ops.add(Events::new(&self.0, EventSet::IN)) {
            tracing::error!("Cannot wait for the end of the event loop: {error:?}");
        }
    }
}

impl EventLoop {
    /// An empty loop.
    pub fn new() -> std::io::Result<Self> {
        let mut manager = EventManager::new().map_err(|error| std::io::Error::other(format!("{error:?}")))?;
        let end = EventFd::new(EFD_NONBLOCK)?;
        let wake: Subscriber = Box::new(Wake(end.try_clone()?));
        manager.add_subscriber(wake);
        Ok(Self { manager, ended: Arc::default(), end })
    }

    /// Adds something to serve.
    pub fn add(&mut self, subscriber: impl MutEventSubscriber + Send + 'static) {
        self.manager.add_subscriber(Box::new(subscriber));
    }

    /// A handle that ends the loop.
    pub fn ender(&self) -> std::io::Result<Ender> {
        Ok(Ender { ended: self.ended.clone(), event: self.end.try_clone()? })
    }

    /// Serves until it is ended.
    pub fn run(&mut self) -> std::io::Result<()> {
        while !self.ended.load(Ordering::SeqCst) {
            match self.manager.run() {
                Ok(_) => {}
                Err(event_manager::Error::Epoll(error)) if error.errno() == libc::EINTR => {}
                Err(error) => return Err(std::io::Error::other(format!("{error:?}"))),
            }
        }
        Ok(())
    }
}
