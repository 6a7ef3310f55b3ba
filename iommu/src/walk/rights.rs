//! What tables let requests do, and what a request needs of them.

use crate::spec::second_stage::SecondStageEntry;
use crate::{Access, Capabilities, Feature, Permissions, Request};

bitflags::bitflags! {
    /// What entries of a table allow, for every kind of request that may come: so that one walk can answer
    /// others too. Those of several levels or stages hold together, by `&`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub(crate) struct Rights: u8 {
        const READ = 1 << 0;
        /// Requests with user privilege may write.
        const WRITE = 1 << 1;
        const EXECUTE = 1 << 2;
        /// Requests with user privilege are allowed at all (U/S).
        const USER = 1 << 3;
        /// Requests with supervisor privilege may write: R/W, or no write protection (WPE).
        const SUPERVISOR_WRITE = 1 << 4;
        /// There is a dirty bit that is kept and is not set yet. Whoever writes must set it, by a walk.
        const CLEAN = 1 << 5;
    }
}

impl Rights {
    /// Where a walk begins: nothing is forbidden yet.
    pub(crate) const ALL: Self = Self::CLEAN.complement();
    /// To write, whoever asks.
    pub(crate) const ANY_WRITE: Self = Self::WRITE.union(Self::SUPERVISOR_WRITE);

    /// What an entry of a second stage allows, which is the same for every privilege. What may be read may
    /// be executed.
    pub(crate) const fn of_second_stage(entry: SecondStageEntry) -> Self {
        const READ: Rights = Rights::READ.union(Rights::EXECUTE);
        const BY_PERMISSIONS: [Rights; 4] =
            [Rights::empty(), READ, Rights::ANY_WRITE, READ.union(Rights::ANY_WRITE)];
        Self::USER.union(BY_PERMISSIONS[entry.permissions().bits() as usize & 3])
    }

    /// What is left of a first stage's rights to a page when the second stage gives `second`.
    pub(crate) const fn behind(self, second: Self) -> Self {
        let clean = self.union(second).intersection(Self::CLEAN);
        self.intersection(second).difference(Self::CLEAN).union(clean)
    }

    /// The same for requests of one privilege.
    pub(crate) const fn permissions(self, privileged: bool) -> Permissions {
        if !privileged && !self.contains(Self::USER) {
            return Permissions::empty();
        }
        let write = if privileged { Self::SUPERVISOR_WRITE } else { Self::WRITE };
        let mut permissions = Permissions::empty();
        if self.contains(Self::READ) {
            permissions = permissions.union(Permissions::READ);
        }
        if self.contains(write) {
            permissions = permissions.union(Permissions::WRITE);
        }
        if self.contains(Self::EXECUTE) {
            permissions = permissions.union(Permissions::EXECUTE);
        }
        permissions
    }
}

/// What a request needs of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Demand {
    wish: Wish,
    /// With supervisor privilege.
    pub(crate) privileged: bool,
    /// To execute.
    pub(crate) execute: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// An access of at least one byte.
    Access(Access),
    /// A read of no bytes, which is content with permission to write (CAP.ZLR).
    Nothing,
    /// Whatever there is, to use later; to write too unless the no-write flag is set.
    Translation { no_write: bool },
}

impl Demand {
    /// An access of at least one byte with user privilege.
    pub(crate) const fn new(access: Access) -> Self {
        Self { wish: Wish::Access(access), privileged: false, execute: false }
    }

    /// A request for `length` bytes. `privileged` is the privilege it has in the end, which without PASID
    /// its context entry says.
    pub(crate) fn of(request: &Request, privileged: bool, length: u64, capabilities: &Capabilities) -> Self {
        let nothing =
            length == 0 && request.access == Access::Read && capabilities.has(Feature::ZeroLengthRead);
        let wish = if nothing { Wish::Nothing } else { Wish::Access(request.access) };
        Self { wish, privileged, execute: request.execute && request.pasid.is_some() }
    }

    /// A translation request: any permission will do.
    pub(crate) const fn translation(privileged: bool, execute: bool, no_write: bool) -> Self {
        Self { wish: Wish::Translation { no_write }, privileged, execute }
    }

    /// What is needed of a second stage behind a page of a first with `rights`: what these keep from a device
    /// that asks for whatever there is, it does not get there either.
    pub(crate) const fn behind(self, rights: Rights) -> Self {
        match self.wish {
            Wish::Translation { no_write } => {
                let writes = rights.permissions(self.privileged).contains(Permissions::WRITE);
                Self { wish: Wish::Translation { no_write: no_write || !writes }, ..self }
            }
            Wish::Access(_) | Wish::Nothing => self,
        }
    }

    /// Whether tables that allow `rights` allow it. A dirty bit may still have to be set.
    pub(crate) const fn allowed_by(self, rights: Rights) -> bool {
        let (all, any) = self.needs();
        rights.contains(all) && rights.intersects(any)
    }

    /// The rights that must all be there, and those of which one must be: the same for every level of a walk.
    const fn needs(self) -> (Rights, Rights) {
        let user = if self.privileged { Rights::empty() } else { Rights::USER };
        let write = if self.privileged { Rights::SUPERVISOR_WRITE } else { Rights::WRITE };
        let execute = if self.execute { Rights::EXECUTE } else { Rights::empty() };
        let either = Rights::READ.union(write);
        match self.wish {
            Wish::Access(Access::Read) => (user.union(execute).union(Rights::READ), either),
            Wish::Access(Access::Write) => (user.union(execute).union(write), either),
            Wish::Access(Access::Atomic) => (user.union(execute).union(either), either),
            Wish::Nothing => (user.union(execute), either),
            // Whether it may execute is part of the answer.
            Wish::Translation { .. } => (user, either),
        }
    }

    /// Whether it makes a page dirty whose tables allow `rights`.
    pub(crate) const fn dirties(self, rights: Rights) -> bool {
        match self.wish {
            Wish::Access(Access::Write | Access::Atomic) => true,
            Wish::Access(Access::Read) | Wish::Nothing => false,
            Wish::Translation { no_write } => {
                !no_write && rights.permissions(self.privileged).contains(Permissions::WRITE)
            }
        }
    }

    /// Whether a page found earlier, with `rights`, will do without another walk.
    pub(crate) const fn met_by(self, rights: Rights) -> bool {
        self.allowed_by(rights) && !(rights.contains(Rights::CLEAN) && self.dirties(rights))
    }

    /// What is lacking where `rights` do not allow it.
    pub(crate) const fn lacking(self, rights: Rights) -> Lack {
        if !self.privileged && !rights.contains(Rights::USER) {
            return Lack::Privilege;
        }
        let permissions = rights.permissions(self.privileged);
        match self.wish {
            Wish::Access(access) if permissions.allows(access) => Lack::Execute,
            Wish::Access(Access::Write) => Lack::Write,
            Wish::Access(Access::Atomic) if permissions.contains(Permissions::READ) => Lack::Write,
            _ => Lack::Read,
        }
    }
}

/// Why a request is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    Read,
    Write,
    Execute,
    /// It has user privilege only.
    Privilege,
}

#[cfg(test)]
mod tests;
