//! Strips at run time: what walks them writes its code once for each kind.

use cranelift_codegen::ir::Value;

use super::emitter::Emitter;
use crate::compiler::plan::{Plan, StripOwner};

/// A strip at run time, and what is known of it while code is written.
#[derive(Clone, Copy)]
pub(super) struct Strip<'a> {
    /// Whose weights it has.
    pub(super) owner: StripOwner<'a>,
    /// Its number.
    pub(super) number: Value,
    /// Its number among the strips of its owner.
    pub(super) index: Value,
    /// Its first channel.
    pub(super) first: Value,
    /// Its channels.
    pub(super) channels: usize,
}

/// Runs `body` for each of the strips `begin..end`; it is written once for each kind of them.
pub(super) fn each<'p>(
    e: &mut Emitter<'_>,
    plan: &'p Plan,
    (begin, end): (Value, Value),
    mut body: impl FnMut(&mut Emitter<'_>, Strip<'p>),
) {
    for group in plan.strip_groups() {
        for (numbers, channels) in group.runs() {
            if numbers.is_empty() {
                continue;
            }
            let [first, last] = [numbers.start, numbers.end].map(|number| e.size(number));
            let (from, to) = (e.max(begin, first), e.min(end, last));
            e.range(from, to, 1, |e, number| {
                let index = e.add(number, -(group.first as i64));
                let first = e.mul(index, group.width as i64);
                body(e, Strip { owner: group.owner, number, index, first, channels });
            });
        }
    }
}
