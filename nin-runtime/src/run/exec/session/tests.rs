//! Memory that a session takes after its start.
#![cfg(target_os = "linux")]

use super::*;
use crate::compile::{Purpose, planned};
use crate::compiler::Isa;
use crate::compiler::codegen::{self, Assembly, Target};
use crate::compiler::optimizer::Squares;
use crate::compiler::plan::{Algos, Demand};
use crate::model::Model;
use crate::run::exec::{CompileTimes, Inner};
use crate::run::jit::CodeMemory;

/// A session of a small program that says of itself to need all of the machine's memory but `left` bytes.
fn session(left: usize) -> Session {
    let text = "model M < input(1, 8, 8) mlpconv(8, 4) gap softmax >";
    let graph = Model::from_text("m.nin", text, &[]).unwrap().graph().clone();
    let target = Target::host(Isa::Portable).unwrap();
    let demand = Demand { batch: 4, registers: target.registers(), algos: &Algos::default() };
    let plan = planned(&graph, Purpose::Training, demand);
    let clif = codegen::write(plan::verify(&graph, &plan), &target);
    let code = codegen::translate(clif, &target, 1, Assembly::Drop).unwrap();
    let weights = Arc::new(Floats::zeroed(plan.weight_floats).unwrap());
    let prepared = Arc::new(Floats::of_bytes(plan.prepared_bytes).unwrap());
    let mut inner = Inner {
        graph,
        plan,
        code: CodeMemory::link(&code, &target).unwrap(),
        isa: target.name,
        threads: 1,
        compile_times: CompileTimes::default(),
    };
    let said = {
        let plan = &inner.plan;
        let floats = 2 * plan.weight_floats + plan.slices * plan.slice_floats;
        size_of::<f32>() * floats + plan.prepared_bytes + plan.arena() + plan.store()
    };
    let all = usize::try_from(memory::machine_bytes()).unwrap();
    inner.plan.prepared_bytes += (all - left - said) / size_of::<f32>() * size_of::<f32>();
    let session = Session::over(Program::new(inner), weights, prepared).unwrap();
    assert!(session.program.session_bytes().abs_diff(all - left) < 16);
    session
}

/// Second moments that do not fit beside what the session has are refused: before the first step, by a step that has done
/// nothing yet, and when a checkpoint brings them.
#[test]
fn squares_are_refused_where_they_do_not_fit() {
    let adam = Optimizer::Adam(Squares::default());
    let mut tight = session(16);
    let squares = Weights::zeros(tight.program.graph());
    assert!(memory::check(tight.program.session_bytes()).is_ok());
    tight.reserve(Optimizer::Sgd).unwrap();
    assert!(matches!(tight.reserve(adam), Err(Error::Memory { .. })));
    assert!(matches!(tight.set_squares(&squares), Err(Error::Memory { .. })));
    let (images, hyper) =
        (ndarray::Array4::zeros((1, 1, 8, 8)), [Hyper { lr: 0.1, momentum: 0.9, decay: 0.0 }; 4]);
    let params = StepParams { hyper: &hyper, optimizer: adam, ..StepParams::default() };
    assert!(matches!(tight.step(images.view(), &[0], &params), Err(Error::Memory { .. })));
    assert!(tight.squares().unwrap().is_none());

    let mut roomy = session(1 << 20);
    roomy.reserve(adam).unwrap();
    assert_eq!(roomy.squares().unwrap(), Some(squares.clone()));
    roomy.set_squares(&squares).unwrap();
}
