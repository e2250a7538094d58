//! Panels of packed weights at run time, and the groups of channels that they belong to: what of each map a panel reads and writes.

use cranelift_codegen::ir::Value;

use super::emitter::Emitter;
use super::pixels::Pixels;
use crate::compiler::Elem;
use crate::compiler::geometry::ConvGeometry;

/// Runs `body` for every panel of `channels` channels: full ones in a loop, then a narrower last one. It gets the panel's
/// number and its columns.
pub(super) fn panels(
    e: &mut Emitter<'_>,
    channels: usize,
    cols: usize,
    mut body: impl FnMut(&mut Emitter<'_>, Value, usize),
) {
    e.count(channels / cols, |e, panel| body(e, panel, cols));
    if !channels.is_multiple_of(cols) {
        let last = e.size(channels / cols);
        body(e, last, channels % cols);
    }
}

/// A product of each of some groups of channels, which lie side by side in both maps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grouped {
    /// How many.
    pub(super) groups: usize,
    /// Channels of a group that are read.
    pub(super) inputs: usize,
    /// Channels of a group that are written.
    pub(super) outputs: usize,
    /// Whether each channel that is written is made of the one with its number.
    pub(super) depthwise: bool,
}

impl Grouped {
    /// That of a convolution, from its input to its output.
    pub(super) fn of(geometry: &ConvGeometry) -> Grouped {
        let ConvGeometry { groups, cin, cout, depthwise, .. } = *geometry;
        Grouped { groups, inputs: cin, outputs: cout, depthwise }
    }

    /// The product the other way.
    pub(super) fn flipped(self) -> Grouped {
        let Grouped { inputs, outputs, depthwise, .. } = self;
        if depthwise { self } else { Grouped { inputs: outputs, outputs: inputs, ..self } }
    }

    /// Runs `body` for every panel of every group.
    pub(super) fn panels(
        self,
        e: &mut Emitter<'_>,
        width: usize,
        mut body: impl FnMut(&mut Emitter<'_>, Panel),
    ) {
        let mut group = |e: &mut Emitter<'_>, group: Option<Value>| {
            panels(e, self.outputs, width, |e, number, columns| {
                body(e, Panel { of: self, group, number, columns, width });
            });
        };
        match self.groups {
            1 => group(e, None),
            groups => e.count(groups, |e, number| group(e, Some(number))),
        }
    }
}

/// A panel of a group.
#[derive(Clone, Copy)]
pub(super) struct Panel {
    of: Grouped,
    /// The group's number, if there are several.
    group: Option<Value>,
    /// Its number in the group.
    number: Value,
    /// Its columns.
    pub(super) columns: usize,
    /// Those of the panels before it.
    width: usize,
}

impl Panel {
    /// What its group has of something, of which each group has `size` elements.
    fn of_group(self, e: &mut Emitter<'_>, map: Pixels, size: usize) -> Pixels {
        self.group.map_or(map, |group| map.elements(e, group, size))
    }

    /// The channels that its columns read.
    pub(super) fn input(self, e: &mut Emitter<'_>, map: Pixels) -> Pixels {
        if self.of.depthwise {
            return map.elements(e, self.number, self.width);
        }
        self.of_group(e, map, self.of.inputs)
    }

    /// Its columns, in a map of what is written.
    pub(super) fn output(self, e: &mut Emitter<'_>, map: Pixels) -> Pixels {
        let map = self.of_group(e, map, self.of.outputs);
        map.elements(e, self.number, self.width)
    }

    /// Its own among packed panels of so many elements.
    pub(super) fn packed(self, e: &mut Emitter<'_>, panels: Pixels, size: usize) -> Pixels {
        let all = self.of.outputs.div_ceil(self.width) * size;
        let panels = self.of_group(e, panels, all);
        panels.elements(e, self.number, size)
    }

    /// Its biases.
    pub(super) fn bias(self, e: &mut Emitter<'_>, bias: Value) -> Value {
        let pitch = self.of.groups * self.of.outputs;
        self.output(e, Pixels { at: bias, pitch, elem: Elem::F32 }).at
    }
}
