//! Object files, as Cranelift's own module writes them for each platform.

use cranelift_module::{
    DataDescription, FuncId, Linkage, Module as _, ModuleError, default_libcall_names,
};
use cranelift_object::{ObjectBuilder, ObjectModule, ObjectProduct};
use object::write::{self, Relocation, Symbol};
use object::{RelocationEncoding, RelocationFlags, RelocationKind, SectionKind};
use target_lexicon::BinaryFormat;

use super::frames::{self, Frames};
use super::{ALIGN, Content, Library};
use crate::compiler::abi;
use crate::error::Error;

/// The bytes of a library's object file.
pub(super) fn write(library: &Library) -> Result<Vec<u8>, Error> {
    let refused = |reason: String| Error::Format { reason };
    let target = &library.target;
    let name = library.options.name.as_str();
    let builder = ObjectBuilder::new(target.owned_isa(), name, default_libcall_names());
    let mut module = ObjectModule::new(builder.map_err(|error| refused(error.to_string()))?);
    define(&mut module, library).map_err(refused)?;
    let mut product = module.finish();
    add_aliases(&mut product, library);
    if library.format() == BinaryFormat::Elf {
        let added = add_frames(&mut product, library);
        added.map_err(|error| refused(error.to_string()))?;
    }
    product.emit().map_err(|error| refused(error.to_string()))
}

/// Adds the further symbols of functions that callers see.
fn add_aliases(product: &mut ObjectProduct, library: &Library) {
    for (number, function) in library.functions.iter().enumerate() {
        let Some(alias) = &function.alias else { continue };
        let id = FuncId::from_u32(u32::try_from(number).expect("few functions"));
        let &Symbol { value, size, kind, scope, weak, section, flags, .. } =
            product.object.symbol(product.function_symbol(id));
        let name = alias.clone().into_bytes();
        let alias = Symbol { name, value, size, kind, scope, weak, section, flags };
        product.object.add_symbol(alias);
    }
}

/// Adds the section that says how functions are unwound.
fn add_frames(product: &mut ObjectProduct, library: &Library) -> Result<(), write::Error> {
    let Some(Frames { bytes, places }) = frames::write(&library.functions, library.target.isa())
    else {
        return Ok(());
    };
    let name = b".eh_frame".to_vec();
    let section = product.object.add_section(Vec::new(), name, SectionKind::ReadOnlyData);
    let start = product.object.append_section_data(section, &bytes, 8);
    for (offset, function) in places {
        let function = FuncId::from_u32(u32::try_from(function).expect("few functions"));
        // By section and offset: a linker may let another function take the place of a public one.
        let function = product.object.symbol(product.function_symbol(function));
        let (code, at) = (function.section.id(), function.value);
        let code = code.expect("every function is defined (a bug in nin)");
        let (kind, encoding) = (RelocationKind::Relative, RelocationEncoding::Generic);
        let relocation = Relocation {
            offset: start + offset as u64,
            symbol: product.object.section_symbol(code),
            addend: i64::try_from(at).expect("a library is small"),
            flags: RelocationFlags::Generic { kind, encoding, size: 32 },
        };
        product.object.add_relocation(section, relocation)?;
    }
    Ok(())
}

/// Declares and defines everything, under the numbers it has in the library.
fn define(module: &mut ObjectModule, library: &Library) -> Result<(), String> {
    let told = |error: ModuleError| error.to_string();
    // Signatures matter to the module for imports alone.
    let signature = abi::entry_signature(library.target.call_conv());
    let mut ids: Vec<FuncId> = Vec::with_capacity(library.functions.len());
    for function in &library.functions {
        let linkage = if function.is_public { Linkage::Export } else { Linkage::Local };
        let id = module.declare_function(&function.symbol, linkage, &signature).map_err(told)?;
        assert_eq!(id.as_u32() as usize, ids.len(), "numbered as declared (a bug in nin)");
        ids.push(id);
    }
    for (number, data) in library.data.iter().enumerate() {
        let writable = matches!(data.content, Content::Zeros(_));
        let id =
            module.declare_data(&data.symbol, Linkage::Local, writable, false).map_err(told)?;
        assert_eq!(id.as_u32() as usize, number, "numbered as declared (a bug in nin)");
        let mut description = DataDescription::new();
        description.set_align(ALIGN);
        match &data.content {
            Content::Constant(bytes) => description.define(bytes.clone().into_boxed_slice()),
            Content::Zeros(bytes) => description.define_zeroinit(*bytes),
        }
        module.define_data(id, &description).map_err(told)?;
    }
    for (function, id) in library.functions.iter().zip(ids) {
        let code = &function.code;
        let defined = module.define_function_bytes(id, code.align, &code.bytes, &code.relocs);
        defined.map_err(told)?;
    }
    Ok(())
}
