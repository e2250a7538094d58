//! Shared libraries for ELF platforms, linked here: all references are between the library's own parts and relative to
//! where they stand, so that nothing is left to be resolved and no linker is needed.
//!
//! The file, whose bytes lie in memory as in the file:
//!
//! ```text
//! read           headers, hash table, symbols for the loader, constants, frames
//! read, execute  code
//! read, write    the loader's table, variables
//! not loaded     symbols and section headers for tools
//! ```

use cranelift_codegen::binemit::Reloc;
use cranelift_module::{ModuleReloc, ModuleRelocTarget};
use gimli::{DW_EH_PE_datarel, DW_EH_PE_pcrel, DW_EH_PE_sdata4, DW_EH_PE_udata4};
use object::elf;
use object::write::StringId;
use object::write::elf::{FileHeader, ProgramHeader, SectionHeader, SectionIndex, Sym, Writer};
use object::{Endianness, write};
use target_lexicon::{Architecture, BinaryFormat};

use super::frames::{self, Frames};
use super::{ALIGN, Content, Function, Library};
use crate::error::Error;

/// Entries of the loader's table. The library has no name of its own in it: it goes by its file's.
const DYNAMIC: usize = 6;
/// Zeros that end the frames.
const FRAMES_END: usize = 4;
/// Segments: three that are loaded, the loader's table, the frames' table, and a stack that is not executed.
const SEGMENTS: u32 = 6;

/// Names in the file's tables.
struct Names {
    functions: Vec<StringId>,
    data: Vec<StringId>,
    /// Of public functions, for the loader.
    public: Vec<StringId>,
    constants: StringId,
    table: StringId,
    frames: StringId,
    code: StringId,
    variables: StringId,
}

/// Where everything lies, in bytes from the start.
struct Layout {
    hash: u64,
    dynsym: u64,
    dynstr: u64,
    constants: Span,
    table: Span,
    frames: Span,
    code: Span,
    dynamic: Span,
    variables: Span,
    /// Of each function.
    functions: Vec<u64>,
    /// Of each constant and variable.
    data: Vec<u64>,
    /// Sections that symbols are in: constants, code, variables.
    sections: [SectionIndex; 3],
}

/// A range of memory.
#[derive(Clone, Copy)]
struct Span {
    start: u64,
    end: u64,
}

impl Span {
    fn len(self) -> u64 {
        self.end - self.start
    }
}

/// The bytes of a library's shared library.
pub(super) fn write(library: &Library) -> Result<Vec<u8>, Error> {
    if library.format() != BinaryFormat::Elf {
        let reason = format!(
            "nin links shared libraries of ELF files, and {} has others; take `--emit obj` and the platform's linker",
            library.options.triple
        );
        return Err(Error::Format { reason });
    }
    let mut bytes = Vec::new();
    let mut w = Writer::new(Endianness::Little, true, &mut bytes);
    let frames = frames::write(&library.functions, library.target.isa());
    let frames = frames.expect("ELF platforms unwind in one way (a bug in nin)");
    let names = add_names(&mut w, library);
    let layout = reserve(&mut w, library, names.public.len(), frames.bytes.len());
    let written = emit(&mut w, library, &names, frames, &layout);
    written.map_err(|error| Error::Format { reason: error.to_string() })?;
    Ok(bytes)
}

fn add_names<'a>(w: &mut Writer<'a>, library: &'a Library) -> Names {
    let functions = library.functions.iter().map(|f| w.add_string(f.symbol.as_bytes())).collect();
    let data = library.data.iter().map(|data| w.add_string(data.symbol.as_bytes())).collect();
    let public = library.public_symbols();
    let public = public.map(|(_, name)| w.add_dynamic_string(name.as_bytes())).collect();
    Names {
        functions,
        data,
        public,
        constants: w.add_section_name(b".rodata"),
        table: w.add_section_name(b".eh_frame_hdr"),
        frames: w.add_section_name(b".eh_frame"),
        code: w.add_section_name(b".text"),
        variables: w.add_section_name(b".bss"),
    }
}

/// Pages that may have rights of their own.
fn page(library: &Library) -> usize {
    match library.options.triple.architecture {
        Architecture::Aarch64(_) => 1 << 16,
        _ => 1 << 12,
    }
}

/// Gives everything its place, in the order in which [`emit`] writes it.
fn reserve(w: &mut Writer<'_>, library: &Library, public: usize, frames: usize) -> Layout {
    w.reserve_file_header();
    w.reserve_program_headers(SEGMENTS);
    let count = u32::try_from(public).expect("few functions");
    let hash = w.reserve_hash(count, 1 + count) as u64;
    for _ in 0..public {
        w.reserve_dynamic_symbol_index();
    }
    let dynsym = w.reserve_dynsym() as u64;
    let dynstr = w.reserve_dynstr() as u64;
    let mut data = Vec::with_capacity(library.data.len());
    let first = w.reserve(0, ALIGN as usize) as u64;
    for item in &library.data {
        data.push(match &item.content {
            Content::Constant(bytes) => w.reserve(bytes.len(), ALIGN as usize) as u64,
            // Placed below.
            Content::Zeros(_) => 0,
        });
    }
    let constants = Span { start: first, end: w.reserved_len() as u64 };
    let first = w.reserve(table_bytes(library.functions.len()) as usize, 8) as u64;
    let table = Span { start: first, end: w.reserved_len() as u64 };
    let first = w.reserve(frames + FRAMES_END, 8) as u64;
    let frames = Span { start: first, end: w.reserved_len() as u64 };
    let first = w.reserve(0, page(library)) as u64;
    let place = |function: &Function| {
        w.reserve(function.code.bytes.len(), function.code.align as usize) as u64
    };
    let functions = library.functions.iter().map(place).collect();
    let code = Span { start: first, end: w.reserved_len() as u64 };
    w.reserve(0, page(library));
    let start = w.reserve_dynamic(DYNAMIC) as u64;
    let dynamic = Span { start, end: w.reserved_len() as u64 };
    // Variables follow in memory; in the file there are none of their zeros.
    let first = dynamic.end.next_multiple_of(ALIGN);
    let mut end = first;
    for (item, place) in library.data.iter().zip(&mut data) {
        if let Content::Zeros(bytes) = item.content {
            *place = end;
            end = (end + bytes as u64).next_multiple_of(ALIGN);
        }
    }
    let variables = Span { start: first, end };
    let sections = reserve_for_tools(w, library);
    Layout {
        hash,
        dynsym,
        dynstr,
        constants,
        table,
        frames,
        code,
        dynamic,
        variables,
        functions,
        data,
        sections,
    }
}

/// Symbols and section headers.
fn reserve_for_tools(w: &mut Writer<'_>, library: &Library) -> [SectionIndex; 3] {
    w.reserve_hash_section_index();
    w.reserve_dynsym_section_index();
    w.reserve_dynstr_section_index();
    let constants = w.reserve_section_index();
    // Those of the frames' table and of the frames, which no symbol is in.
    w.reserve_section_index();
    w.reserve_section_index();
    let code = w.reserve_section_index();
    w.reserve_dynamic_section_index();
    let variables = w.reserve_section_index();
    w.reserve_symtab_section_index();
    w.reserve_strtab_section_index();
    w.reserve_shstrtab_section_index();
    for _ in 0..library.functions.len() + library.data.len() {
        w.reserve_symbol_index(None);
    }
    w.reserve_symtab();
    w.reserve_strtab();
    w.reserve_shstrtab();
    w.reserve_section_headers();
    [constants, code, variables]
}

/// Writes the file.
fn emit(
    w: &mut Writer<'_>,
    library: &Library,
    names: &Names,
    frames: Frames,
    layout: &Layout,
) -> Result<(), write::Error> {
    let e_machine = match library.options.triple.architecture {
        Architecture::Aarch64(_) => elf::EM_AARCH64,
        _ => elf::EM_X86_64,
    };
    w.write_file_header(&FileHeader {
        os_abi: elf::ELFOSABI_NONE,
        abi_version: 0,
        e_type: elf::ET_DYN,
        e_machine,
        e_entry: 0,
        e_flags: 0,
    })?;
    write_segments(w, layout, page(library) as u64);
    let public: Vec<(usize, &str)> = library.public_symbols().collect();
    let count = u32::try_from(public.len()).expect("few functions");
    w.write_hash(count, 1 + count, |number| {
        let (_, name) = public.get((number as usize).checked_sub(1)?)?;
        Some(elf::hash(name.as_bytes()))
    });
    w.write_null_dynamic_symbol();
    for (&(number, _), &name) in public.iter().zip(&names.public) {
        let function = &library.functions[number];
        w.write_dynamic_symbol(&function_symbol(layout, number, function, name));
    }
    w.write_dynstr();
    for (data, &place) in library.data.iter().zip(&layout.data) {
        if let Content::Constant(bytes) = &data.content {
            w.pad_until(place as usize);
            w.write(bytes);
        }
    }
    write_frames(w, frames, layout);
    for (function, &place) in library.functions.iter().zip(&layout.functions) {
        w.pad_until(place as usize);
        let mut bytes = function.code.bytes.clone();
        for reloc in &function.code.relocs {
            relocate(&mut bytes, place, reloc, layout);
        }
        w.write(&bytes);
    }
    w.pad_until(layout.dynamic.start as usize);
    w.write_align_dynamic();
    for (tag, value) in [
        (elf::DT_HASH, layout.hash),
        (elf::DT_SYMTAB, layout.dynsym),
        (elf::DT_STRTAB, layout.dynstr),
        (elf::DT_STRSZ, w.dynstr_len() as u64),
        (elf::DT_SYMENT, size_of::<elf::Sym64<Endianness>>() as u64),
        (elf::DT_NULL, 0),
    ] {
        w.write_dynamic(tag, value)?;
    }
    write_symbols(w, library, names, layout);
    write_sections(w, names, layout);
    Ok(())
}

/// Bytes of the table by which an unwinder finds a function's frame, before the frames.
fn table_bytes(functions: usize) -> u64 {
    12 + 8 * functions as u64
}

/// Writes the table and the frames.
fn write_frames(w: &mut Writer<'_>, frames: Frames, layout: &Layout) {
    let Frames { mut bytes, places } = frames;
    let near = |to: u64, from: u64| {
        let distance = i32::try_from(to as i64 - from as i64);
        distance.expect("a library is small").to_le_bytes()
    };
    let (table, start) = (layout.table.start, layout.frames.start);
    for &(offset, function) in &places {
        let distance = near(layout.functions[function], start + offset as u64);
        bytes[offset..][..4].copy_from_slice(&distance);
    }
    w.pad_until(table as usize);
    // The version, and how the frames' place, the table's length and its entries are written.
    let relative_to_here = DW_EH_PE_pcrel.0 | DW_EH_PE_sdata4.0;
    let relative_to_table = DW_EH_PE_datarel.0 | DW_EH_PE_sdata4.0;
    w.write(&[1, relative_to_here, DW_EH_PE_udata4.0, relative_to_table]);
    w.write(&near(start, table + 4));
    w.write(&u32::try_from(places.len()).expect("few functions").to_le_bytes());
    // Functions lie in the order of their frames.
    for (offset, function) in places {
        // A frame begins with its length and the way back to what it shares with others.
        let frame = start + offset as u64 - 8;
        w.write(&near(layout.functions[function], table));
        w.write(&near(frame, table));
    }
    w.pad_until(start as usize);
    w.write(&bytes);
    w.write(&[0; FRAMES_END]);
}

fn write_segments(w: &mut Writer<'_>, layout: &Layout, page: u64) {
    let readable = Span { start: 0, end: layout.frames.end };
    let writable = Span { start: layout.dynamic.start, end: layout.variables.end };
    let (r, rx, rw) = (elf::PF_R, elf::PF_R | elf::PF_X, elf::PF_R | elf::PF_W);
    w.write_align_program_headers();
    let nothing = Span { start: 0, end: 0 };
    for (p_type, p_flags, span, file, align) in [
        (elf::PT_LOAD, r, readable, readable.len(), page),
        (elf::PT_LOAD, rx, layout.code, layout.code.len(), page),
        (elf::PT_LOAD, rw, writable, layout.dynamic.len(), page),
        (elf::PT_DYNAMIC, rw, layout.dynamic, layout.dynamic.len(), 8),
        (elf::PT_GNU_EH_FRAME, r, layout.table, layout.table.len(), 4),
        (elf::PT_GNU_STACK, rw, nothing, 0, 16),
    ] {
        w.write_program_header(&ProgramHeader {
            p_type,
            p_flags,
            p_offset: span.start,
            p_vaddr: span.start,
            p_paddr: span.start,
            p_filesz: file,
            p_memsz: span.len(),
            p_align: align,
        });
    }
}

fn function_symbol(layout: &Layout, number: usize, function: &Function, name: StringId) -> Sym {
    let bind = if function.is_public { elf::STB_GLOBAL } else { elf::STB_LOCAL };
    Sym {
        name: Some(name),
        section: Some(layout.sections[1]),
        st_info: bind << 4 | elf::STT_FUNC,
        st_other: elf::STV_DEFAULT,
        st_shndx: 0,
        st_value: layout.functions[number],
        st_size: function.code.bytes.len() as u64,
    }
}

/// Symbols for tools: inner ones first, as the format wants it.
fn write_symbols(w: &mut Writer<'_>, library: &Library, names: &Names, layout: &Layout) {
    w.write_null_symbol();
    for ((data, &name), &place) in library.data.iter().zip(&names.data).zip(&layout.data) {
        let (section, bytes) = match &data.content {
            Content::Constant(bytes) => (layout.sections[0], bytes.len()),
            Content::Zeros(bytes) => (layout.sections[2], *bytes),
        };
        w.write_symbol(&Sym {
            name: Some(name),
            section: Some(section),
            st_info: elf::STB_LOCAL << 4 | elf::STT_OBJECT,
            st_other: elf::STV_DEFAULT,
            st_shndx: 0,
            st_value: place,
            st_size: bytes as u64,
        });
    }
    for is_public in [false, true] {
        for (number, function) in library.functions.iter().enumerate() {
            if function.is_public == is_public {
                let name = names.functions[number];
                w.write_symbol(&function_symbol(layout, number, function, name));
            }
        }
    }
    w.write_strtab();
    w.write_shstrtab();
}

fn write_sections(w: &mut Writer<'_>, names: &Names, layout: &Layout) {
    w.write_null_section_header();
    w.write_hash_section_header(layout.hash);
    w.write_dynsym_section_header(layout.dynsym, 1);
    w.write_dynstr_section_header(layout.dynstr);
    let section = |w: &mut Writer<'_>, name, sh_type, flags: u32, (span, align): (Span, u64)| {
        w.write_section_header(&SectionHeader {
            name: Some(name),
            sh_type,
            sh_flags: u64::from(elf::SHF_ALLOC | flags),
            sh_addr: span.start,
            sh_offset: span.start,
            sh_size: span.len(),
            sh_link: 0,
            sh_info: 0,
            sh_addralign: align,
            sh_entsize: 0,
        });
    };
    section(w, names.constants, elf::SHT_PROGBITS, 0, (layout.constants, ALIGN));
    section(w, names.table, elf::SHT_PROGBITS, 0, (layout.table, 4));
    section(w, names.frames, elf::SHT_PROGBITS, 0, (layout.frames, 8));
    section(w, names.code, elf::SHT_PROGBITS, elf::SHF_EXECINSTR, (layout.code, ALIGN));
    w.write_dynamic_section_header(layout.dynamic.start);
    section(w, names.variables, elf::SHT_NOBITS, elf::SHF_WRITE, (layout.variables, ALIGN));
    w.write_symtab_section_header(0);
    w.write_strtab_section_header();
    w.write_shstrtab_section_header();
}

/// Fills in a reference of a function that lies at `start`.
fn relocate(bytes: &mut [u8], start: u64, reloc: &ModuleReloc, layout: &Layout) {
    let ModuleRelocTarget::User { namespace, index } = reloc.name else {
        unreachable!("generated code names no outside symbol (a bug in nin)")
    };
    let places = if namespace == 0 { &layout.functions } else { &layout.data };
    let to = places[index as usize] as i64 + reloc.addend;
    let at = start as i64 + i64::from(reloc.offset);
    let field = &mut bytes[reloc.offset as usize..][..4];
    let word = u32::from_le_bytes((&*field).try_into().expect("four bytes"));
    let near = |distance: i64| i32::try_from(distance).expect("a library is small") as u32;
    let word = match reloc.kind {
        Reloc::X86PCRel4 | Reloc::X86CallPCRel4 | Reloc::X86CallPLTRel4 => near(to - at),
        // bl: 26 bits, in instructions.
        Reloc::Arm64Call => word | near(to - at) >> 2 & 0x03ff_ffff,
        // adrp: 21 bits, in pages; the two lowest stand apart.
        Reloc::Aarch64AdrPrelPgHi21 => {
            let pages = near((to >> 12) - (at >> 12));
            word | (pages & 3) << 29 | (pages >> 2 & 0x7_ffff) << 5
        }
        // add: what is left within the page.
        Reloc::Aarch64AddAbsLo12Nc => word | (to as u32 & 0xfff) << 10,
        other => unreachable!("{other:?} is no reference that nin's code makes (a bug in nin)"),
    };
    field.copy_from_slice(&word.to_le_bytes());
}
