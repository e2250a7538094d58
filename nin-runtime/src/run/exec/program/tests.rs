//! Offsets that are read at run time, of either width.

use ndarray::Array4;

use crate::Hyper;
use crate::compile::{Purpose, planned};
use crate::compiler::Isa;
use crate::compiler::codegen::{self, Assembly, Target};
use crate::compiler::plan::{self, Algos, Demand};
use crate::model::Model;
use crate::run::exec::{CompileTimes, Inner, Program, Session, StepParams};
use crate::run::jit::CodeMemory;
use crate::train::{Recipe, init};

/// A session whose code was written as if statistics took `more` floats than they do.
fn session(model: &Model, more: usize) -> Session {
    let target = Target::host(Isa::Auto).unwrap();
    let demand = Demand { batch: 9, registers: target.registers(), algos: &Algos::default() };
    let plan = planned(model.graph(), Purpose::Training, demand);
    let mut far = plan.clone();
    far.statistics_floats += more;
    let clif = codegen::write(plan::verify(model.graph(), &far), &target);
    let code = codegen::translate(clif, &target, 1, Assembly::Drop).unwrap();
    let program = Program::new(Inner {
        graph: model.graph().clone(),
        plan,
        code: CodeMemory::link(&code, &target).unwrap(),
        isa: target.name,
        threads: 2,
        compile_times: CompileTimes::default(),
    });
    program.session(&init(model.graph(), &Recipe::default())).unwrap()
}

/// Offsets beyond 32 bits take 64 in the table; the same program computes the same either way.
#[test]
fn wide_offsets_lead_to_the_same_places() {
    let text = "model M < input(2, 13, 11) mlpconv(17, 6, kernel = 3) batchnorm relu maxpool(2) conv(6, kernel = 3)
        conv(6, kernel = 3) batchnorm relu gap fc(3) softmax >";
    let model = Model::from_text("m.nin", text, &[]).unwrap();
    let images = Array4::from_shape_fn((9, 2, 13, 11), |(n, c, y, x)| {
        ((7 * n + 5 * c + 3 * y + x) % 11) as f32 / 5.0 - 1.0
    });
    let labels = [0, 1, 2, 0, 1, 2, 0, 1, 2];
    let weights = model.graph().weights().len();
    let hyper = vec![Hyper { lr: 0.1, momentum: 0.9, decay: 0.01 }; weights];
    let params = StepParams { hyper: &hyper, ..StepParams::default() };
    let [narrow, wide] = [0, 1 << 30].map(|more| {
        let mut session = session(&model, more);
        let outcome = session.step(images.view(), &labels, &params).unwrap();
        let many = session.forward(images.view()).unwrap();
        let one = session.forward(images.slice(ndarray::s![..1, .., .., ..])).unwrap();
        (outcome.loss, many, one, session.weights(), session.program().code_bytes())
    });
    assert!((&narrow.0, &narrow.1, &narrow.2, &narrow.3) == (&wide.0, &wide.1, &wide.2, &wide.3));
    assert!(narrow.4 < wide.4, "the table is as wide as the other");
}
