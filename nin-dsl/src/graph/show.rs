//! A [`Graph`] as text: `nin show --stage graph`.

use std::fmt;

use super::{Graph, NodeId, Op};
use crate::shape::Count;

impl fmt::Display for Graph {
    /// One line a node: `nin show --stage graph`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "graph {}", self.name)?;
        if !self.params.is_empty() {
            let params: Vec<String> =
                self.params.iter().map(|(n, v)| format!("{n} = {v}")).collect();
            write!(f, "({})", params.join(", "))?;
        }
        writeln!(f)?;
        for id in self.ids() {
            let node = self.node(id);
            let layer = self.layer(node.layer);
            let op = self.describe(id);
            writeln!(
                f,
                "  {:<4} = {op:<44} {:<12} {}",
                id.to_string(),
                node.shape.to_string(),
                layer.name
            )?;
        }
        Ok(())
    }
}

impl Graph {
    /// A node's op with its operand and attributes, such as `conv(%0) 5x5 s1 p2 mlpconv1.conv`.
    pub fn describe(&self, id: NodeId) -> String {
        let inputs: Vec<String> = self.node(id).inputs.iter().map(NodeId::to_string).collect();
        let operand = inputs.join(", ");
        match self.node(id).op {
            Op::Input => "input".to_owned(),
            Op::Conv { window, groups, weight, bias } => {
                let name = self.weight(weight).name.trim_end_matches(".weight");
                let bias = if bias.is_some() { "" } else { " no bias" };
                let groups =
                    if groups == 1 { String::new() } else { format!(" in {groups} groups") };
                format!("conv({operand}) {window}{groups} {name}{bias}")
            }
            Op::Relu => format!("relu({operand})"),
            Op::Activation(activation) => activation.describe(&operand),
            Op::PRelu { .. } => format!("prelu({operand})"),
            Op::MaxPool { window, round } => format!("maxpool({operand}) {window} {round}"),
            Op::AvgPool { window, round, count: Count::Real } => {
                format!("avgpool({operand}) {window} {round}")
            }
            Op::AvgPool { window, round, count: Count::Window } => {
                format!("avgpool({operand}) {window} {round} counts padding")
            }
            Op::GlobalAvgPool => format!("gap({operand})"),
            Op::GlobalMaxPool => format!("gmp({operand})"),
            Op::Dropout { p, index } => format!("dropout({operand}) p {p} mask {index}"),
            Op::BatchNorm { eps, momentum, ghost, .. } => {
                let ghost = if ghost > 0 { format!(" ghost {ghost}") } else { String::new() };
                format!("batchnorm({operand}) eps {eps:e} momentum {momentum}{ghost}")
            }
            Op::Lrn { size, alpha, beta, k } => {
                format!("lrn({operand}) size {size} alpha {alpha} beta {beta} k {k}")
            }
            Op::Softmax => format!("softmax({operand})"),
            Op::Add => format!("add({operand})"),
            Op::Concat => format!("concat({operand})"),
            Op::Mul => format!("mul({operand})"),
        }
    }
}
