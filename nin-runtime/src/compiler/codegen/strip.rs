//! Strips at run time: what walks those of an owner writes its code once for each kind of them.

use std::ops::Range;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value};

use super::emitter::Emitter;
use crate::compiler::plan::{StripGroup, StripOwner};

/// A strip at run time, and what is known of it while code is written.
#[derive(Clone, Copy)]
pub(super) struct Strip<'a> {
    /// Whose weights it has.
    pub(super) owner: StripOwner<'a>,
    /// Its number among the strips of its owner.
    pub(super) index: Value,
    /// The number of its convolution's group, if that has several.
    pub(super) group: Option<Value>,
    /// Its first channel in the group.
    pub(super) within: Value,
    /// Its first channel.
    pub(super) first: Value,
    /// Its channels.
    pub(super) channels: usize,
}

/// Runs `body` for each of the strips `begin..end` of an owner; it is written once for each kind of them.
pub(super) fn each<'p>(
    e: &mut Emitter<'_>,
    strips: StripGroup<'p>,
    (begin, end): (Value, Value),
    mut body: impl FnMut(&mut Emitter<'_>, Strip<'p>),
) {
    for (places, channels) in strips.runs().into_iter().filter(|(places, _)| !places.is_empty()) {
        if strips.groups > 1 {
            grouped(e, strips, (begin, end), (places, channels), &mut body);
            continue;
        }
        let [first, last] = [places.start, places.end].map(|place| e.size(place));
        let (from, to) = (e.max(begin, first), e.min(end, last));
        e.range(from, to, 1, |e, index| {
            let first = e.mul(index, strips.width as i64);
            let (owner, within) = (strips.owner, first);
            body(e, Strip { owner, index, group: None, within, first, channels });
        });
    }
}

/// Runs `body` for those of the strips `begin..end` that have one of some places in each group of a convolution.
fn grouped<'p>(
    e: &mut Emitter<'_>,
    strips: StripGroup<'p>,
    (begin, end): (Value, Value),
    (places, channels): (Range<usize>, usize),
    body: &mut impl FnMut(&mut Emitter<'_>, Strip<'p>),
) {
    e.range(begin, end, 1, |e, index| {
        let of_group = strips.of_group() as i64;
        let group = e.b.ins().udiv_imm_u(index, of_group);
        let before = e.mul(group, of_group);
        let place = e.b.ins().isub(index, before);
        let mut strip = |e: &mut Emitter<'_>| {
            let within = e.mul(place, strips.width as i64);
            let first = e.mul(group, strips.channels as i64);
            let first = e.b.ins().iadd(first, within);
            let (owner, group) = (strips.owner, Some(group));
            body(e, Strip { owner, index, group, within, first, channels });
        };
        if places.len() == strips.of_group() {
            return strip(e);
        }
        // The whole strips of a group stand before the one that is left.
        let (condition, place_of_last) = match places.start {
            0 => (IntCC::NotEqual, places.end),
            start => (IntCC::Equal, start),
        };
        let is_here = e.b.ins().icmp_imm_s(condition, place, place_of_last as i64);
        e.when(is_here, strip);
    });
}
