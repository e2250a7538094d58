//! Epilogues of the assembler's makers that compute with constants: a few instructions on a sum that is in a register.
//!
//! The constants lie in the red zone below the stack pointer, which no signal handler touches, from where the spare register gets
//! each in all lanes.

use iced_x86::IcedError;
use iced_x86::code_asm::{AsmMemoryOperand, CodeAssembler, dword_ptr, rsp};

use super::vectors::{Register, Vectors};
use crate::compiler::kernel::{Epilogue, Scalar};

/// What is done to a sum `x`, with another register `t`.
#[derive(Clone, Copy)]
enum Operation {
    /// `x = max(x, c)`, NaN kept.
    AtLeast(f32),
    /// `x = min(x, c)`, NaN kept.
    AtMost(f32),
    /// `x = x + c`.
    Plus(f32),
    /// `x = x c`.
    Times(f32),
    /// `t = x c`, then `x = max(t, x)`, NaN kept.
    AtLeastTimes(f32),
    /// `t = x c`, then `x = min(t, x)`, NaN kept.
    AtMostTimes(f32),
    /// `t = x + c`.
    SumPlus(f32),
    /// `t = min(t, c)`, NaN kept.
    SumAtMost(f32),
    /// `t = t / c`.
    SumOver(f32),
    /// `x = x t`.
    TimesSum,
}

/// What an epilogue does; `None` if it is none of these.
fn operations(epilogue: Epilogue) -> Option<Vec<Operation>> {
    use Operation::{
        AtLeast, AtLeastTimes, AtMost, AtMostTimes, Plus, SumAtMost, SumOver, SumPlus, Times,
        TimesSum,
    };
    Some(match epilogue {
        Epilogue::Relu | Epilogue::Relu6 | Epilogue::Mask | Epilogue::Add => return None,
        // A slope above one makes less of what is negative.
        Epilogue::LeakyRelu { slope: Scalar(slope) } => match f32::from_bits(slope) {
            slope if slope <= 1.0 => vec![AtLeastTimes(slope)],
            slope => vec![AtMostTimes(slope)],
        },
        Epilogue::HardSigmoid => {
            vec![Plus(3.0), AtLeast(0.0), AtMost(6.0), Times(Epilogue::SIXTH)]
        }
        Epilogue::HardSwish => {
            vec![AtLeast(-3.0), SumPlus(3.0), SumAtMost(6.0), SumOver(6.0), TimesSum]
        }
        Epilogue::Scale { by: Scalar(by) } => vec![Times(f32::from_bits(by))],
    })
}

impl Operation {
    fn constant(self) -> Option<f32> {
        match self {
            Operation::AtLeast(c)
            | Operation::AtMost(c)
            | Operation::Plus(c)
            | Operation::Times(c)
            | Operation::AtLeastTimes(c)
            | Operation::AtMostTimes(c)
            | Operation::SumPlus(c)
            | Operation::SumAtMost(c)
            | Operation::SumOver(c) => Some(c),
            Operation::TimesSum => None,
        }
    }
}

/// Where constant `number` lies.
fn place(number: usize) -> AsmMemoryOperand {
    dword_ptr(rsp - 4 * (number as i32 + 1))
}

/// Writes the constants of an epilogue to where [`apply`] looks for them.
pub(super) fn prepare(a: &mut CodeAssembler, epilogues: &[Epilogue]) -> Result<(), IcedError> {
    let operations = epilogues.iter().filter_map(|&epilogue| operations(epilogue)).flatten();
    for (number, constant) in operations.filter_map(Operation::constant).enumerate() {
        a.mov(place(number), constant.to_bits().cast_signed())?;
    }
    Ok(())
}

/// Does to the sum `x` what an epilogue says, if it is one of those; the registers `t` and the spare one are lost. Of a list of
/// epilogues one may have constants.
pub(super) fn apply<V: Vectors>(
    (a, v): (&mut CodeAssembler, &V),
    epilogue: Epilogue,
    x: Register,
    t: Register,
) -> Result<(), IcedError> {
    let spare = Register { number: V::SPARE, ..x };
    let mut number = 0;
    for operation in operations(epilogue).into_iter().flatten() {
        if operation.constant().is_some() {
            v.spread(a, spare, place(number))?;
            number += 1;
        }
        match operation {
            Operation::AtLeast(_) => v.relu(a, x)?,
            Operation::AtMost(_) => v.at_most(a, x)?,
            Operation::Plus(_) => v.add(a, x, x, spare)?,
            Operation::Times(_) => v.times(a, x, x, spare)?,
            Operation::AtLeastTimes(_) => {
                v.times(a, t, x, spare)?;
                v.larger(a, x, t, x)?;
            }
            Operation::AtMostTimes(_) => {
                v.times(a, t, x, spare)?;
                v.smaller(a, x, t, x)?;
            }
            Operation::SumPlus(_) => v.add(a, t, x, spare)?,
            Operation::SumAtMost(_) => v.at_most(a, t)?,
            Operation::SumOver(_) => v.divide(a, t, t, spare)?,
            Operation::TimesSum => v.times(a, x, x, t)?,
        }
    }
    Ok(())
}
