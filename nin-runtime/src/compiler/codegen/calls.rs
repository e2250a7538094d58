//! [`CallList`]: which functions an entry calls one after the other is data, so that it has code for each function, not for each
//! layer.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value};

use super::emitter::Emitter;
use super::functions::Placed;
use crate::compiler::kernel::Kernel;

/// Functions that read offsets, in the order in which an entry's plan names them.
///
/// Invariant: behind `records` stands a record for each of `len`: the position of its function among `functions`, where its offsets
/// begin in the table, and numbers of whoever made the list.
pub(super) struct CallList {
    /// The first record's position in the table of offsets.
    records: usize,
    /// Numbers of a record.
    width: usize,
    /// How many are called.
    len: usize,
    /// The functions, each once, and the first kernel that is one.
    functions: Vec<(u32, Kernel)>,
}

/// Numbers that every record begins with.
const HEAD: usize = 2;

impl CallList {
    /// A list of kernels with as many further numbers each.
    pub(super) fn of<const N: usize>(
        e: &mut Emitter<'_>,
        calls: impl IntoIterator<Item = (Kernel, [usize; N])>,
    ) -> CallList {
        let mut functions: Vec<(u32, Kernel)> = Vec::new();
        let mut records = Vec::new();
        let mut len = 0;
        for (kernel, numbers) in calls {
            let Placed { function, offsets } = e.placed(&kernel);
            let position = functions.iter().position(|&(known, _)| known == function);
            let position = position.unwrap_or_else(|| {
                functions.push((function, kernel));
                functions.len() - 1
            });
            let record = [position, offsets].into_iter().chain(numbers);
            records.extend(record.map(|number| number as u64));
            len += 1;
        }
        CallList { records: e.tabulate(&records), width: HEAD + N, len, functions }
    }

    /// How many are called.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Where a record begins.
    fn record(&self, e: &mut Emitter<'_>, number: Value) -> Value {
        let records = e.table(self.records);
        e.row_of_table(records, number, self.width)
    }

    /// A number of a record besides the head.
    pub(super) fn number(&self, e: &mut Emitter<'_>, number: Value, index: usize) -> Value {
        let record = self.record(e, number);
        e.tabulated(record, HEAD + index)
    }

    /// Calls number `number`, with arguments by what is called.
    pub(super) fn call<'a>(
        &self,
        e: &mut Emitter<'_>,
        number: Value,
        arguments: impl Fn(&Kernel) -> &'a [Value],
    ) {
        let record = self.record(e, number);
        let position = e.tabulated(record, 0);
        let offsets = e.tabulated(record, 1);
        let table = e.table(0);
        let offsets = e.row_of_table(table, offsets, 1);
        among(e, position, &self.functions, 0, &mut |e, (function, kernel)| {
            e.call_placed(*function, arguments(kernel), offsets);
        });
    }
}

/// Runs `body` for that one of `items` whose position, counted from `first`, is `position`.
fn among<T>(
    e: &mut Emitter<'_>,
    position: Value,
    items: &[T],
    first: usize,
    body: &mut dyn FnMut(&mut Emitter<'_>, &T),
) {
    match items {
        [] => {}
        [only] => body(e, only),
        _ => {
            let (left, right) = items.split_at(items.len() / 2);
            let middle = first + left.len();
            let is_left = e.b.ins().icmp_imm_u(IntCC::UnsignedLessThan, position, middle as i64);
            let (inside, exit) = (e.b.create_block(), e.b.create_block());
            let other = e.b.create_block();
            e.b.ins().brif(is_left, inside, &[], other, &[]);
            for (block, items, first) in [(inside, left, first), (other, right, middle)] {
                e.b.switch_to_block(block);
                e.b.seal_block(block);
                among(e, position, items, first, body);
                e.b.ins().jump(exit, &[]);
            }
            e.b.switch_to_block(exit);
            e.b.seal_block(exit);
        }
    }
}
