//! Calls that carry images to their results.

use super::{Callee, Calls, Lanes, Meetings, NOTHING, TimedCalls, share};
use crate::compiler::abi::Context;
use crate::compiler::kernel::{Entry, PassKind};
use crate::host::memory::Floats;
use crate::run::exec::team::Barrier;

impl<'a> Callee<'a> {
    /// Carries `n` images to their results, whole chunks to a thread; threads without one are left alone.
    pub(crate) fn infer(
        self,
        n: usize,
        (images, results): (&'a [f32], &'a mut [f32]),
        prepared: &'a Floats,
        arenas: &'a mut [Floats],
        lanes: &'a mut Lanes,
    ) -> Calls<'a> {
        let base = self.infer_context(n, images, results, prepared);
        let chunk = self.plan.full_chunk(PassKind::Inference);
        let parts = arenas.len().min(n.div_ceil(chunk));
        for ((part, arena), lane) in arenas.iter_mut().enumerate().zip(lanes.cleared(parts)) {
            assert_eq!(arena.bytes(), self.plan.arena());
            let range = share(n, chunk, part, parts);
            lane.push(Some(base.alone_in(arena).over(range)));
        }
        self.calls(Entry::Infer, lanes)
    }

    /// Carries `n` images to their results, one after the other, each by all threads together: part by part, every thread a
    /// share of the rows.
    pub(crate) fn infer_together(
        self,
        n: usize,
        (images, results): (&'a [f32], &'a mut [f32]),
        prepared: &'a Floats,
        arenas: &'a mut [Floats],
        lanes: &'a mut Lanes,
    ) -> Calls<'a> {
        assert!(arenas.iter().all(|arena| arena.bytes() == self.plan.arena()));
        let base = self.infer_context(n, images, results, prepared);
        let members = arenas.len();
        let (first, others) = arenas.split_first_mut().expect("at least one thread");
        // The first thread's bands lie beside the whole images, as they do when it works alone.
        let base = base.alone_in(first);
        let arenas = [base.arena].into_iter().chain(others.iter_mut().map(Floats::as_mut_ptr));
        let parts = &self.plan.inference.parts;
        for ((member, arena), lane) in arenas.enumerate().zip(lanes.cleared(members)) {
            for first in 0..n {
                let base = Context { arena, first: first as u64, ..base };
                lane.extend(parts.iter().enumerate().map(|(number, part)| {
                    let range = share(part.rows, 1, member, members);
                    // What takes all images takes so many.
                    let image = u64::from(part.together);
                    let context = Context { part: number as u64, image, ..base };
                    (!range.is_empty()).then(|| context.over(range))
                }));
                let export = Context { part: parts.len() as u64, ..base };
                lane.push((member == 0).then_some(export));
            }
        }
        let part = Entry::Part { pass: PassKind::Inference };
        let meetings = Some(Meetings { barrier: Barrier::new(members), parts });
        Calls { meetings, ..self.calls(part, lanes) }
    }

    /// Carries one chunk of `n` images to their results, part by part in the order of [`Callee::infer`].
    pub(crate) fn infer_parts(
        self,
        n: usize,
        (images, results): (&'a [f32], &'a mut [f32]),
        prepared: &'a Floats,
        arena: &'a mut Floats,
        lanes: &'a mut Lanes,
    ) -> TimedCalls<'a> {
        assert!(n <= self.plan.chunk);
        assert_eq!(arena.bytes(), self.plan.arena());
        let base = self.infer_context(n, images, results, prepared);
        self.parts(PassKind::Inference, n, base.alone_in(arena), lanes)
    }

    /// What all ranges of a call have in common.
    fn infer_context(
        self,
        n: usize,
        images: &[f32],
        results: &mut [f32],
        prepared: &Floats,
    ) -> Context {
        assert!(n <= self.plan.batch);
        assert_eq!(images.len(), n * self.graph.input().elements());
        assert_eq!(results.len(), n * self.graph.output().elements());
        assert_eq!(prepared.bytes(), self.plan.prepared_bytes);
        Context {
            images: images.as_ptr(),
            results: results.as_mut_ptr(),
            prepared: prepared.as_ptr().cast_mut(),
            ..NOTHING
        }
    }
}
