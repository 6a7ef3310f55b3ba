//! Address ranges and who answers there: sorted, and never overlapping.

use std::sync::Arc;

use crate::Function;
use crate::span::Span;
use crate::topology::{Held, Node};

/// Who answers in a range.
#[derive(Clone)]
pub(crate) struct Decoder {
    pub(crate) function: Arc<dyn Function>,
    pub(crate) bar: usize,
    /// The address of the BAR's first byte, which need not be in the range.
    pub(crate) base: u64,
    _held: Held,
}

impl Decoder {
    /// BAR `bar` of a function, whose first byte is at `base`.
    pub(crate) fn new(node: &Node, bar: usize, base: u64) -> Self {
        Self { function: node.function.clone(), bar, base, _held: node.held.clone() }
    }
}

/// A piece of an access: so many bytes, and who answers them.
pub(crate) struct Piece<'a> {
    pub(crate) length: usize,
    pub(crate) target: Option<Target<'a>>,
}

/// The place in a BAR that a piece of an access goes to.
pub(crate) struct Target<'a> {
    pub(crate) function: &'a dyn Function,
    pub(crate) bar: usize,
    pub(crate) offset: u64,
}

/// The most bytes that a function is asked for at once.
const WIDEST: usize = 8;

/// All ranges of one address space.
#[derive(Default)]
pub(crate) struct Ranges {
    sorted: Vec<(Span, Decoder)>,
}

impl Ranges {
    /// Gives what nobody has yet of `span` to `decoder`; says how many addresses that is.
    pub(crate) fn claim(&mut self, span: Span, decoder: &Decoder) -> u64 {
        let start = self.sorted.partition_point(|(taken, _)| taken.last < span.first);
        let end = self.sorted.partition_point(|(taken, _)| taken.first <= span.last);
        let mut gaps = Vec::new();
        let mut next = Some(span.first);
        for (taken, _) in self.sorted.get(start..end).unwrap_or_default() {
            let before = taken.first.checked_sub(1);
            gaps.extend(next.zip(before).and_then(|(first, last)| Span::new(first, last)));
            next = taken.last.checked_add(1);
        }
        gaps.extend(next.and_then(|first| Span::new(first, span.last)));

        let claimed = gaps.iter().map(|gap| gap.last - gap.first + 1).sum();
        self.sorted.extend(gaps.into_iter().map(|gap| (gap, decoder.clone())));
        self.sorted.sort_unstable_by_key(|(taken, _)| taken.first);
        claimed
    }

    /// The first piece of an access of `length` bytes (not 0) at `address`: bytes up to where somebody else
    /// answers.
    pub(crate) fn first_piece(&self, address: u64, length: usize) -> Piece<'_> {
        let length = length.min(WIDEST);
        let Some((span, decoder)) = self.find(address) else {
            return Piece { length: 1, target: None };
        };
        let left = (span.last - address).saturating_add(1);
        let length = usize::try_from(left).map_or(length, |left| length.min(left));
        let target =
            Target { function: decoder.function.as_ref(), bar: decoder.bar, offset: address - decoder.base };
        Piece { length, target: Some(target) }
    }

    fn find(&self, address: u64) -> Option<&(Span, Decoder)> {
        let index = self.sorted.partition_point(|(span, _)| span.last < address);
        self.sorted.get(index).filter(|(span, _)| span.contains(address))
    }
}

#[cfg(test)]
mod tests;
