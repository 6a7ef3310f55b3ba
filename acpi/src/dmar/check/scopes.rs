//! Reads device scopes and checks what holds for every one of them.

use zerocopy::FromBytes;

use super::{Checker, PciKind};
use crate::dmar::layout::ScopeLayout;
use crate::dmar::{PathStep, ScopeKind, SidpFlags};

/// A scope as read. Its path has at least one step.
pub(super) struct ScopeView {
    pub(super) label: String,
    pub(super) kind: ScopeKind,
    pub(super) start_bus: u8,
    pub(super) path: Vec<PathStep>,
}

/// What scopes one structure may hold.
pub(super) struct Allowed {
    /// The type fields.
    pub(super) types: &'static [u8],
    /// The bits of the flags byte.
    pub(super) flags: SidpFlags,
}

impl Checker<'_> {
    /// Reads the scopes of the structure `owner` and reports all that is wrong with each alone.
    pub(super) fn scopes(
        &mut self,
        owner: &str,
        segment: u16,
        mut rest: &[u8],
        allowed: &Allowed,
    ) -> Vec<ScopeView> {
        let mut scopes = Vec::new();
        while !rest.is_empty() {
            let label = format!("Scope {} of the {owner}", scopes.len() + 1);
            let Ok((fixed, _)) = ScopeLayout::read_from_prefix(rest) else {
                self.problem(format!("{label} is cut off after {} bytes.", rest.len()));
                break;
            };
            let length = usize::from(fixed.length);
            let whole = length >= size_of::<ScopeLayout>() + 2 && length.is_multiple_of(2);
            let Some((scope, after)) = rest.split_at_checked(length).filter(|_| whole) else {
                self.problem(format!(
                    "{label} says it has {length} bytes; {} are left and a path takes two a step.",
                    rest.len()
                ));
                break;
            };
            rest = after;
            let path = scope.get(size_of::<ScopeLayout>()..).unwrap_or_default();
            scopes.extend(self.scope(label, segment, fixed, path, allowed));
        }
        scopes
    }

    fn scope(
        &mut self,
        label: String,
        segment: u16,
        fixed: ScopeLayout,
        path: &[u8],
        allowed: &Allowed,
    ) -> Option<ScopeView> {
        let number = fixed.enumeration_id;
        let kind = match fixed.kind {
            1 => ScopeKind::Endpoint,
            2 => ScopeKind::SubHierarchy,
            3 => ScopeKind::IoApic { id: number },
            4 => ScopeKind::Hpet { number },
            5 => ScopeKind::Namespace { number },
            unknown => {
                self.problem(format!("{label} has the unknown type {unknown}."));
                return None;
            }
        };
        if !allowed.types.contains(&fixed.kind) {
            self.problem(format!("{label} has type {}, which does not belong there.", fixed.kind));
        }
        if fixed.flags & !allowed.flags.0 != 0 {
            self.problem(format!("{label} has reserved flags set: {:#04x}.", fixed.flags));
        }
        if fixed.reserved != 0 {
            self.problem(format!("{label} has a reserved byte that is not zero."));
        }
        if matches!(kind, ScopeKind::Endpoint | ScopeKind::SubHierarchy) && number != 0 {
            self.problem(format!("{label} names a PCI device but has the enumeration ID {number}."));
        }
        let path: Vec<PathStep> = path
            .chunks_exact(2)
            .filter_map(|step| Some(PathStep { device: *step.first()?, function: *step.get(1)? }))
            .collect();
        if path.iter().any(|step| step.device > 31 || step.function > 7) {
            self.problem(format!("{label} has a step with a device above 31 or a function above 7."));
        }
        let scope = ScopeView { label, kind, start_bus: fixed.start_bus, path };
        self.names_what_it_says(segment, &scope);
        Some(scope)
    }

    /// Whether the PCI tree has what the scope names, and with a header of the right type.
    fn names_what_it_says(&mut self, segment: u16, scope: &ScopeView) {
        let label = &scope.label;
        let found = self.topology.resolve(segment, scope.start_bus, &scope.path);
        let complaint = match (scope.kind, found.map(|function| function.kind)) {
            (ScopeKind::Endpoint | ScopeKind::SubHierarchy, None) => {
                format!("{label} leads to no PCI function.")
            }
            (ScopeKind::Endpoint, Some(PciKind::Bridge { .. })) => {
                format!("{label} is for an endpoint but leads to a bridge.")
            }
            (ScopeKind::SubHierarchy, Some(PciKind::Endpoint)) => {
                format!("{label} is for a bridge but leads to an endpoint.")
            }
            (ScopeKind::IoApic { .. } | ScopeKind::Hpet { .. } | ScopeKind::Namespace { .. }, _) => {
                match self.topology.requester_id(segment, scope.start_bus, &scope.path) {
                    None => format!("{label} has a path that leads nowhere."),
                    Some(0) => format!("{label} has the requester ID 0, which operating systems refuse."),
                    Some(id) => match self.topology.by_requester_id(segment, id) {
                        Some(function) => {
                            format!("{label} has the requester ID of the PCI function {function}.")
                        }
                        None => return,
                    },
                }
            }
            _ => return,
        };
        self.problem(complaint);
    }
}
