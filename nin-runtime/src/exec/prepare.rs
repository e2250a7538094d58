//! Weights prepared without a session, for a library that carries them.

use nin_dsl::graph::Graph;

use super::memory::Floats;
use super::session::from_file_layout;
use super::threads::Threads;
use crate::codegen::{self, Assembly, Isa, Target};
use crate::error::Error;
use crate::jit::CodeMemory;
use crate::jit::call::{Callee, Lanes};
use crate::kernel::Entry;
use crate::plan::Plan;
use crate::weights::Weights;

/// The prepared weights of a plan, which may be for another CPU than this: preparing never fuses multiplications with
/// additions, so that its bits are the same on all.
///
/// # Errors
/// [`Error::Weights`] if they are another model's, [`Error::Memory`], [`Error::CodeMemory`], [`Error::Target`] if this machine
/// refuses.
pub(crate) fn prepare(graph: &Graph, plan: &Plan, weights: &Weights) -> Result<Floats, Error> {
    weights.check(graph)?;
    let target = Target::host(Isa::Portable)?;
    let clif = codegen::write_entries(graph, plan, &target, &[Entry::Prepare], 0);
    let code = CodeMemory::link(&codegen::translate(clif, &target, 1, Assembly::Drop)?, &target)?;
    let mut master = Floats::zeroed(plan.weight_floats)?;
    from_file_layout(graph, plan, weights, &mut master);
    let mut prepared = Floats::zeroed(plan.prepared_floats)?;
    let (callee, mut lanes) = (Callee { code: &code, graph, plan }, Lanes::default());
    let mut arenas = [Floats::zeroed(plan.arena())?];
    callee.prepare(&master, &mut prepared, &mut arenas, &mut lanes).run(&mut Threads::new(1)?);
    Ok(prepared)
}
