//! The section `.eh_frame` of ELF files, which says how to unwind the stack: by it, debuggers and profilers find out who called
//! a kernel.

use cranelift_codegen::isa::TargetIsa;
use cranelift_codegen::isa::unwind::UnwindInfo;
use gimli::write::{
    Address, EhFrame, EndianVec, FrameDescriptionEntry, FrameTable, RelocateWriter, Relocation,
    RelocationTarget,
};
use gimli::{DW_EH_PE_pcrel, DW_EH_PE_sdata4, DwEhPe, LittleEndian};

use super::Function;

/// The section.
pub(super) struct Frames {
    /// Its bytes; nothing in them says that it ends.
    pub(super) bytes: Vec<u8>,
    /// Where in them the distance from there to a function belongs, 32 bits, and the function's number.
    pub(super) places: Vec<(usize, usize)>,
}

/// Bytes as they are written, and the references among them.
struct Section {
    bytes: EndianVec<LittleEndian>,
    places: Vec<(usize, usize)>,
}

impl RelocateWriter for Section {
    type Writer = EndianVec<LittleEndian>;

    fn writer(&self) -> &Self::Writer {
        &self.bytes
    }

    fn writer_mut(&mut self) -> &mut Self::Writer {
        &mut self.bytes
    }

    fn relocate(&mut self, relocation: Relocation) {
        let RelocationTarget::Symbol(function) = relocation.target else {
            unreachable!("frames are of functions (a bug in nin)")
        };
        self.places.push((relocation.offset, function));
    }
}

/// The frames of all functions; `None` if the platform's files describe frames in another form.
///
/// Cranelift says how its functions use the stack. The others, written in machine code by hand, call nothing and have no frame, so
/// that the section's defaults hold for them. (One saves a register on the stack for a few instructions, in which it is not
/// unwound right.)
pub(super) fn write(functions: &[Function], isa: &dyn TargetIsa) -> Option<Frames> {
    let mut cie = isa.create_systemv_cie()?;
    cie.fde_address_encoding = DwEhPe(DW_EH_PE_pcrel.0 | DW_EH_PE_sdata4.0);
    let mut table = FrameTable::default();
    let cie = table.add_cie(cie);
    for (number, function) in functions.iter().enumerate() {
        let address = Address::Symbol { symbol: number, addend: 0 };
        let fde = match &function.code.unwind {
            Some(UnwindInfo::SystemV(info)) => info.to_fde(address),
            _ => {
                let bytes = u32::try_from(function.code.bytes.len()).expect("a function is small");
                FrameDescriptionEntry::new(address, bytes)
            }
        };
        table.add_fde(cie, fde);
    }
    let section = Section { bytes: EndianVec::new(LittleEndian), places: Vec::new() };
    let mut section = EhFrame(section);
    let written = table.write_eh_frame(&mut section);
    written.expect("references are relocated, and everything is near (a bug in nin)");
    let EhFrame(Section { bytes, places }) = section;
    Some(Frames { bytes: bytes.into_vec(), places })
}
