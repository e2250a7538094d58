//! [`Library`], a model compiled ahead: everything that an object file, a static or shared library and their header are
//! made of.
//!
//! The functions are those a [`Program`](crate::exec::Program) consists of, with the C interface of
//! [`front`](crate::codegen::front) in front of them.

mod archive;
mod header;
mod object;
mod shared;

use nin_dsl::graph::Graph;
use nin_dsl::shape::Shape;
use target_lexicon::{Architecture, BinaryFormat, Triple};

use crate::codegen::front::{self, Datum, Front, FrontBody};
use crate::codegen::{self, Assembly, Clif, Isa, MachineCode, Target};
use crate::data::Normalisation;
use crate::error::Error;
use crate::exec;
use crate::kernel::{Constant, Entry, Export, Kernel, Prepared, Size};
use crate::plan::{self, Plan};
use crate::weights::Weights;

/// How to compile a library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LibraryOptions {
    /// What the names of its functions begin with; an identifier of C.
    pub name: String,
    /// Images a call usually holds. It may hold any number.
    pub batch: usize,
    /// Threads to compile with.
    pub threads: usize,
    /// Instruction sets, at least one, the fastest last: each has code of its own, and a call takes the fastest that its CPU
    /// has.
    pub isas: Vec<Isa>,
    /// The platform.
    pub triple: Triple,
}

/// What a library can tell of its model besides numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct About {
    /// How images are normalised before they are given to it, if that is known.
    pub normalisation: Option<Normalisation>,
    /// Names of the classes, by output; none of a model that yields maps.
    pub classes: Vec<String>,
}

/// A model compiled ahead.
pub struct Library {
    options: LibraryOptions,
    about: About,
    /// Settings that every CPU of the platform has.
    target: Target,
    functions: Vec<Function>,
    data: Vec<Data>,
    interface: Interface,
    /// The intermediate code, for people.
    clif: String,
}

/// A function of a library; its position is its number.
struct Function {
    symbol: String,
    /// Whether callers see it.
    is_public: bool,
    code: MachineCode,
}

/// A constant or variable of a library; its position is its number.
struct Data {
    symbol: String,
    content: Content,
}

/// What lies there.
enum Content {
    /// Bytes that never change.
    Constant(Vec<u8>),
    /// So many zeros, which change.
    Zeros(usize),
}

/// What the header says.
struct Interface {
    model: String,
    input: Shape,
    output: Shape,
    /// Name and dimensions of each tensor that callers pass, if they do.
    tensors: Vec<(String, Vec<usize>)>,
    prepared: Prepared,
    workspace_bytes: usize,
    prepared_bytes: usize,
    exports: Vec<Export>,
}

/// Everything lies on cache lines.
const ALIGN: u64 = 64;

impl Library {
    /// Compiles a checked graph; with weights, they are part of the library.
    ///
    /// # Errors
    /// [`Error::Name`] for a name that C cannot have, [`Error::Target`] for a platform without code generator or an instruction
    /// set it lacks, [`Error::Options`], [`Error::Weights`] if they are another model's, and what the code generator or the
    /// system refuse.
    pub fn compile(
        graph: &Graph,
        weights: Option<&Weights>,
        about: &About,
        options: &LibraryOptions,
    ) -> Result<Library, Error> {
        check(options)?;
        let baseline = Target::of(&options.triple, Isa::Portable)?;
        let bodies = bodies(graph, options)?;
        let entries: &[Entry] = match weights {
            Some(_) => &[Entry::Infer],
            None => &[Entry::Prepare, Entry::Infer],
        };
        let (mut clifs, mut first) = (Vec::new(), 0);
        let mut fronts = Vec::new();
        for (target, plan) in &bodies {
            let clif = codegen::write_entries(graph, plan, target, entries, first);
            let entries = entries.to_vec();
            fronts.push(FrontBody { isa: target.name, plan, entries, first });
            first += clif.len();
            clifs.push((clif, target));
        }
        let data = data(graph, weights, about, options, &bodies)?;
        let exports = exports(weights.is_some(), about);
        let front = Front {
            graph,
            bodies: fronts,
            data: data.iter().map(|(datum, _)| *datum).collect(),
            names: about.classes.len(),
        };
        clifs.push((front::write(&front, &exports, &baseline, first), &baseline));
        let interface = interface(graph, weights.is_some(), &front, exports);
        let clif = clifs.iter().map(|(clif, _)| clif.display()).collect();
        let functions = translate(clifs, options)?;
        let data = data.into_iter().map(|(_, data)| data).collect();
        let (options, about) = (options.clone(), about.clone());
        Ok(Library { options, about, target: baseline, functions, data, interface, clif })
    }

    /// A relocatable object file of the platform.
    ///
    /// # Errors
    /// [`Error::Format`] if the platform has no object files that nin writes.
    pub fn object(&self) -> Result<Vec<u8>, Error> {
        object::write(self)
    }

    /// A static library that holds the object file.
    ///
    /// # Errors
    /// As [`Library::object`], and for Apple's archives.
    pub fn static_library(&self) -> Result<Vec<u8>, Error> {
        archive::write(self)
    }

    /// A shared library that needs no other.
    ///
    /// # Errors
    /// [`Error::Format`] if the platform's are not ELF files.
    pub fn shared_library(&self) -> Result<Vec<u8>, Error> {
        shared::write(self)
    }

    /// The header, for C and C++.
    pub fn header(&self) -> String {
        header::write(self)
    }

    /// Every function before translation, as text.
    pub fn clif(&self) -> &str {
        &self.clif
    }

    /// Every function's assembly.
    pub fn assembly(&self) -> String {
        codegen::listing(self.functions.iter().map(|function| &function.code))
    }

    /// Bytes of machine code.
    pub fn code_bytes(&self) -> usize {
        self.functions.iter().map(|function| function.code.bytes.len()).sum()
    }

    fn format(&self) -> BinaryFormat {
        self.options.triple.binary_format
    }
}

/// The platform of a name such as `aarch64-unknown-linux-gnu`; this machine's without one.
///
/// # Errors
/// [`Error::Target`] if there is no such platform.
pub fn platform(name: Option<&str>) -> Result<Triple, Error> {
    let Some(name) = name else { return Ok(Triple::host()) };
    let unknown = |error: target_lexicon::ParseError| Error::Platform {
        name: name.to_owned(),
        reason: error.to_string(),
    };
    let triple: Triple = name.parse().map_err(unknown)?;
    check_platform(&triple)?;
    Ok(triple)
}

/// Whether the options make sense together.
fn check(options: &LibraryOptions) -> Result<(), Error> {
    let name = &options.name;
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    if !name.starts_with(letter) || !name.chars().all(|c| letter(c) || c.is_ascii_digit()) {
        return Err(Error::Name { name: name.clone() });
    }
    check_platform(&options.triple)
}

/// Whether a platform's CPUs are x86-64's.
pub fn is_x86_64(triple: &Triple) -> bool {
    triple.architecture == Architecture::X86_64
}

fn check_platform(triple: &Triple) -> Result<(), Error> {
    let reason = match (triple.architecture, triple.binary_format) {
        (
            Architecture::X86_64 | Architecture::Aarch64(_),
            BinaryFormat::Elf | BinaryFormat::Macho | BinaryFormat::Coff,
        ) => return Ok(()),
        (Architecture::X86_64 | Architecture::Aarch64(_), _) => {
            "it has no object files of a known form; name the system, as in `aarch64-unknown-linux-gnu`"
        }
        _ => "libraries are for x86-64 and aarch64",
    };
    Err(Error::Platform { name: triple.to_string(), reason: reason.to_owned() })
}

/// Target and plan of each instruction set.
fn bodies(graph: &Graph, options: &LibraryOptions) -> Result<Vec<(Target, Plan)>, Error> {
    let body = |&isa: &Isa| {
        let target = Target::of(&options.triple, isa)?;
        let plan = plan::plan(graph, options.batch, target.registers(), false);
        Ok((target, plan))
    };
    options.isas.iter().map(body).collect()
}

/// The functions that callers see.
fn exports(embedded: bool, about: &About) -> Vec<Export> {
    let mut exports = match embedded {
        true => vec![Export::Forward(Prepared::Embedded)],
        false => {
            vec![Export::Forward(Prepared::Passed), Export::Prepare, Export::Size(Size::Prepared)]
        }
    };
    exports.extend([Export::Size(Size::Workspace), Export::Supported]);
    exports.push(Export::Constant(Constant::Version));
    exports.extend((!about.classes.is_empty()).then_some(Export::ClassName));
    if about.normalisation.is_some() {
        exports.extend([Constant::Mean, Constant::Deviation].map(Export::Constant));
    }
    exports
}

/// The constants and the variable.
fn data(
    graph: &Graph,
    weights: Option<&Weights>,
    about: &About,
    options: &LibraryOptions,
    bodies: &[(Target, Plan)],
) -> Result<Vec<(Datum, Data)>, Error> {
    let name = &options.name;
    let mut all = Vec::new();
    let mut push = |datum, what: &str, content| {
        all.push((datum, Data { symbol: format!("{name}.{what}"), content }));
    };
    let bytes = |floats: &[f32]| -> Vec<u8> {
        floats.iter().flat_map(|float| float.to_le_bytes()).collect()
    };
    if let Some(weights) = weights {
        for (number, (target, plan)) in bodies.iter().enumerate() {
            let prepared = exec::prepare(graph, plan, weights)?;
            let what = format!("{}.weights", target.name);
            push(Datum::Prepared(number), &what, Content::Constant(bytes(prepared.as_slice())));
        }
    }
    let version = format!("{}\0", env!("CARGO_PKG_VERSION")).into_bytes();
    push(Datum::Constant(Constant::Version), "version", Content::Constant(version));
    let (mut names, mut starts) = (Vec::new(), Vec::new());
    for class in &about.classes {
        let start = u32::try_from(names.len()).expect("names of classes are short");
        starts.extend(start.to_le_bytes());
        names.extend(class.bytes().filter(|&byte| byte != 0));
        names.push(0);
    }
    push(Datum::Names, "class_names", Content::Constant(names));
    push(Datum::NameStarts, "class_name_starts", Content::Constant(starts));
    if let Some(Normalisation { mean, deviation }) = &about.normalisation {
        push(Datum::Constant(Constant::Mean), "mean", Content::Constant(bytes(mean)));
        let deviation = Content::Constant(bytes(deviation));
        push(Datum::Constant(Constant::Deviation), "deviation", deviation);
    }
    push(Datum::Level, "cpu_level", Content::Zeros(size_of::<u32>()));
    Ok(all)
}

fn interface(graph: &Graph, embedded: bool, front: &Front<'_>, exports: Vec<Export>) -> Interface {
    let tensor = |weight: &nin_dsl::graph::Weight| (weight.name.clone(), weight.dims.clone());
    Interface {
        model: graph.name.clone(),
        input: graph.input(),
        output: graph.output(),
        tensors: graph.weights.iter().filter(|_| !embedded).map(tensor).collect(),
        prepared: if embedded { Prepared::Embedded } else { Prepared::Passed },
        workspace_bytes: front.bytes(Size::Workspace),
        prepared_bytes: front.bytes(Size::Prepared),
        exports,
    }
}

/// Translates everything and names it.
fn translate(
    clifs: Vec<(Clif, &Target)>,
    options: &LibraryOptions,
) -> Result<Vec<Function>, Error> {
    let mut functions = Vec::new();
    let last = clifs.len() - 1;
    for (number, (clif, target)) in clifs.into_iter().enumerate() {
        let assembly = if target.is_x86_64() { Assembly::Drop } else { Assembly::Keep };
        let body = (number < last).then_some(target.name);
        let codes = codegen::translate(clif, target, options.threads, assembly)?;
        functions.extend(codes.into_iter().enumerate().map(|(position, code)| {
            let (symbol, is_public) = symbol(&options.name, body, position, &code.kernel);
            Function { symbol, is_public, code }
        }));
    }
    Ok(functions)
}

/// What a function is called, and whether callers see it. Dots keep inner names apart from any that C can have.
fn symbol(name: &str, body: Option<Isa>, position: usize, kernel: &Kernel) -> (String, bool) {
    let body = body.map_or(String::new(), |isa| format!("{isa}."));
    match kernel {
        Kernel::Export(Export::Level) => (format!("{name}.level"), false),
        Kernel::Export(export) => (format!("{name}_{export}"), true),
        Kernel::Tile(tile) => {
            (format!("{name}.{body}tile.{}x{}.{position}", tile.rows, tile.cols), false)
        }
        Kernel::Block { .. } | Kernel::Step { .. } | Kernel::Entry(_) | Kernel::Machine(_) => {
            (format!("{name}.{body}{}", kernel.to_string().replace(' ', ".")), false)
        }
    }
}
