//! [`Library`], a model compiled ahead: everything that an object file, a static or shared library and their header are
//! made of.
//!
//! The functions are those a [`Program`](crate::run::exec::Program) consists of, with the C interface of
//! `codegen::front` in front of them.

mod archive;
mod frames;
mod header;
mod object;
mod rust;
mod shared;

use nin_dsl::graph::Graph;
use nin_dsl::shape::Shape;
use target_lexicon::{Architecture, BinaryFormat, Triple};

use crate::compile::{self, Options, Purpose, planned};
use crate::compiler::Isa;
use crate::compiler::codegen::front::{self, Datum, Front, FrontBody};
use crate::compiler::codegen::{self, Assembly, Clif, MachineCode, Target};
use crate::compiler::kernel::{Constant, Entry, Export, Kernel, Memory, Prepared};
use crate::compiler::plan::{self, Algos, Demand, Plan};
use crate::data::{DataError, Normalisation};
use crate::error::Error;
use crate::run::exec;
use crate::train::Info;
use crate::weights::Weights;

/// How to compile a library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LibraryOptions {
    /// What the names of its functions begin with; an identifier of C.
    pub name: String,
    /// Whether they go by `NAME_forward` too, for callers without a header, beside the name with the library's fingerprint.
    pub plain_names: bool,
    /// Images that a step holds at most, and that a forward call usually holds: it may hold any number.
    pub batch: usize,
    /// Threads to compile with.
    pub threads: usize,
    /// Instruction sets, at least one, the fastest last: each has code of its own, and a call takes the fastest that its CPU
    /// has.
    pub isas: Vec<Isa>,
    /// Algorithms of convolutions.
    pub algo: Algos,
    /// The platform.
    pub triple: Triple,
}

/// What a library is for.
#[derive(Clone, Copy, Debug)]
pub enum Contents<'a> {
    /// Running the model with these weights.
    Weights(&'a Weights),
    /// Running it with weights that callers pass.
    Code,
    /// Training it, and running it between steps.
    Training,
}

/// What a library can tell of its model besides numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct About {
    /// How images are normalised before they are given to it, if that is known.
    pub normalisation: Option<Normalisation>,
    /// Names of the classes, by output; none of a model that yields maps.
    pub classes: Vec<String>,
}

impl About {
    /// What a weights file says of a model; without a file, that its classes are numbers. Where the file does not say how
    /// images were normalised, pixels are fractions of 255.
    ///
    /// # Errors
    /// Constants that do not fit the model's images, or images prepared by more than normalisation.
    pub fn of(info: Option<&Info>, graph: &Graph) -> Result<About, DataError> {
        let classes = match graph.output() {
            Shape::Vector { .. } => info.unwrap_or(&Info::default()).class_names(graph),
            Shape::Map { .. } => Vec::new(),
        };
        let Some(info) = info else { return Ok(About { normalisation: None, classes }) };
        if let Some(preprocessing) = info.preprocessing {
            return Err(DataError::NotCompiled { preprocessing });
        }
        let input = graph.input();
        let identity = || Normalisation::identity(input.channels());
        let normalisation = info.normalisation.clone().unwrap_or_else(identity);
        normalisation.check(input)?;
        Ok(About { normalisation: Some(normalisation), classes })
    }
}

/// What functions of a model are called unless it is said: its name in small letters, `NinCifar10` as `nin_cifar10`.
pub fn default_name(graph: &Graph) -> String {
    let mut name = String::new();
    let mut before = '_';
    for letter in graph.name().chars() {
        if letter.is_uppercase() && (before.is_lowercase() || before.is_ascii_digit()) {
            name.push('_');
        }
        name.extend(letter.to_lowercase());
        before = letter;
    }
    name
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
    fingerprint: u32,
    /// The intermediate code, for people.
    clif: String,
}

/// A function of a library; its position is its number.
struct Function {
    symbol: String,
    /// Whether callers see it.
    is_public: bool,
    /// Another symbol of a function that callers see.
    alias: Option<String>,
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
#[derive(Debug)]
struct Interface {
    model: String,
    input: Shape,
    output: Shape,
    /// Name and dimensions of each tensor that callers pass, if they do.
    tensors: Vec<(String, Vec<usize>)>,
    prepared: Prepared,
    /// Images of a step.
    batch: usize,
    workspace_bytes: usize,
    prepared_bytes: usize,
    state_bytes: usize,
    exports: Vec<Export>,
}

/// Everything lies on cache lines.
const ALIGN: u64 = 64;

impl Library {
    /// Compiles a checked graph.
    ///
    /// # Errors
    /// [`Error::Name`] for a name that C cannot have, [`Error::Platform`] for a platform without libraries, [`Error::Target`] for
    /// an instruction set it lacks, [`Error::Options`], [`Error::NotClassifier`] and [`Error::LoneNumber`] for a model that cannot be trained so,
    /// [`Error::Weights`] if they are another model's, and what the code generator or the system refuse.
    pub fn compile(
        graph: &Graph,
        contents: Contents<'_>,
        about: &About,
        options: &LibraryOptions,
    ) -> Result<Library, Error> {
        check(graph, contents, options)?;
        let baseline = Target::of(&options.triple, Isa::Portable)?;
        let bodies = bodies(graph, contents, options)?;
        let (mut clifs, mut first) = (Vec::new(), 0);
        let mut fronts = Vec::new();
        for (target, plan) in &bodies {
            let entries = entries(plan, contents);
            let clif = codegen::write_entries(plan::verify(graph, plan), target, &entries, first);
            fronts.push(FrontBody { isa: target.name, plan, entries, first });
            first += clif.len();
            clifs.push((clif, target));
        }
        let data = data(graph, contents, about, options, &bodies)?;
        let exports = exports(contents, about);
        let front = Front {
            graph,
            bodies: fronts,
            data: data.iter().map(|(datum, _)| *datum).collect(),
            prepared: contents.prepared(),
            names: about.classes.len(),
        };
        clifs.push((front::write(&front, &exports, &baseline, first), &baseline));
        let interface = interface(graph, &front, exports);
        let clif = clifs.iter().map(|(clif, _)| clif.display()).collect();
        let mut functions = translate(clifs, options)?;
        let data: Vec<Data> = data.into_iter().map(|(_, data)| data).collect();
        let fingerprint = fingerprint(&functions, &data, &interface);
        add_fingerprint(&mut functions, fingerprint, options.plain_names);
        let (options, about, target) = (options.clone(), about.clone(), baseline);
        Ok(Library { options, about, target, functions, data, interface, fingerprint, clif })
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

    /// The wrapper for Rust: the items of a module, to be included.
    pub fn rust(&self) -> String {
        rust::write(self)
    }

    /// What tells the library from every other of its name, in eight hexadecimal digits: the names of its functions end in it.
    pub fn fingerprint(&self) -> String {
        digits(self.fingerprint)
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

    /// The number and the names of each function that callers see.
    fn public_symbols(&self) -> impl Iterator<Item = (usize, &str)> {
        let public = self.functions.iter().enumerate().filter(|(_, function)| function.is_public);
        public.flat_map(|(number, Function { symbol, alias, .. })| {
            [Some(symbol), alias.as_ref()].into_iter().flatten().map(move |name| (number, &**name))
        })
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

impl Contents<'_> {
    /// Images of a call or a step unless it is said.
    pub fn usual_batch(self) -> usize {
        match self {
            Contents::Weights(_) | Contents::Code => 1,
            Contents::Training => 128,
        }
    }

    fn prepared(self) -> Prepared {
        match self {
            Contents::Weights(_) => Prepared::Embedded,
            Contents::Code => Prepared::Passed,
            Contents::Training => Prepared::State,
        }
    }

    fn purpose(self) -> Purpose {
        match self {
            Contents::Weights(_) | Contents::Code => Purpose::Inference,
            Contents::Training => Purpose::Training,
        }
    }
}

/// Whether the options make sense together.
fn check(graph: &Graph, contents: Contents<'_>, options: &LibraryOptions) -> Result<(), Error> {
    let &LibraryOptions { batch, threads, ref algo, .. } = options;
    let purpose = contents.purpose();
    compile::check(
        graph,
        &Options { batch, threads, isa: Isa::Auto, purpose, algo: algo.clone() },
    )?;
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
fn bodies(
    graph: &Graph,
    contents: Contents<'_>,
    options: &LibraryOptions,
) -> Result<Vec<(Target, Plan)>, Error> {
    let body = |&isa: &Isa| {
        let target = Target::of(&options.triple, isa)?;
        let (batch, registers, algos) = (options.batch, target.registers(), &options.algo);
        let plan = planned(graph, contents.purpose(), Demand { batch, registers, algos });
        Ok((target, plan))
    };
    options.isas.iter().map(body).collect()
}

/// The entries that the interface calls.
fn entries(plan: &Plan, contents: Contents<'_>) -> Vec<Entry> {
    match contents {
        Contents::Weights(_) => vec![Entry::Infer],
        Contents::Code => vec![Entry::Prepare, Entry::Infer],
        Contents::Training => {
            let all = codegen::entries(plan).into_iter();
            // Parts are for threads that share an image.
            all.filter(|entry| !matches!(entry, Entry::Part { .. })).collect()
        }
    }
}

/// The functions that callers see.
fn exports(contents: Contents<'_>, about: &About) -> Vec<Export> {
    let forward = Export::Forward(contents.prepared());
    let mut exports = match contents {
        Contents::Weights(_) => vec![forward],
        Contents::Code => vec![forward, Export::Prepare, Export::Size(Memory::Prepared)],
        Contents::Training => {
            vec![Export::Load, Export::Step, Export::Save, forward, Export::Size(Memory::State)]
        }
    };
    exports.extend([Export::Size(Memory::Workspace), Export::Supported]);
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
    contents: Contents<'_>,
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
    if let Contents::Weights(weights) = contents {
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

fn interface(graph: &Graph, front: &Front<'_>, exports: Vec<Export>) -> Interface {
    let embedded = front.prepared == Prepared::Embedded;
    let tensor = |weight: &nin_dsl::graph::Weight| (weight.name.clone(), weight.dims.clone());
    Interface {
        model: graph.name().to_owned(),
        input: graph.input(),
        output: graph.output(),
        tensors: graph.weights().iter().filter(|_| !embedded).map(tensor).collect(),
        prepared: front.prepared,
        batch: front.bodies[0].plan.batch,
        workspace_bytes: front.bytes(Memory::Workspace),
        prepared_bytes: front.bytes(Memory::Prepared),
        state_bytes: front.bytes(Memory::State),
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
            Function { symbol, is_public, alias: None, code }
        }));
    }
    Ok(functions)
}

/// A checksum of everything that a library consists of.
fn fingerprint(functions: &[Function], data: &[Data], interface: &Interface) -> u32 {
    let mut checksum = crc32fast::Hasher::new();
    let mut add = |bytes: &[u8]| {
        checksum.update(&bytes.len().to_le_bytes());
        checksum.update(bytes);
    };
    add(format!("{interface:?}").as_bytes());
    for Function { symbol, code, .. } in functions {
        add(symbol.as_bytes());
        add(&code.bytes);
    }
    for Data { symbol, content } in data {
        add(symbol.as_bytes());
        match content {
            Content::Constant(bytes) => add(bytes),
            Content::Zeros(bytes) => add(&bytes.to_le_bytes()),
        }
    }
    checksum.finalize()
}

/// A fingerprint as names end in it.
fn digits(fingerprint: u32) -> String {
    format!("{fingerprint:08x}")
}

/// Gives the functions that callers see names with the library's fingerprint. Of two libraries of one name a linker would take
/// the first that it finds for the callers of both; by names of their own, each caller gets what its header is about.
fn add_fingerprint(functions: &mut [Function], fingerprint: u32, plain_names: bool) {
    for function in functions.iter_mut().filter(|function| function.is_public) {
        let own = format!("{}_{}", function.symbol, digits(fingerprint));
        if plain_names {
            function.alias = Some(own);
        } else {
            function.symbol = own;
        }
    }
}

/// What a function is called, and whether callers see it. Dots keep inner names apart from any that C can have. The words behind
/// them are joined by underscores: `gdb` takes further dots for Ada's and leaves the last number out.
fn symbol(name: &str, body: Option<Isa>, position: usize, kernel: &Kernel) -> (String, bool) {
    let body = body.map_or(String::new(), |isa| format!("{isa}."));
    match kernel {
        Kernel::Export(Export::Level) => (format!("{name}.level"), false),
        Kernel::Export(export) => (format!("{name}_{export}"), true),
        Kernel::Tile(tile) => {
            (format!("{name}.{body}tile_{}x{}_{position}", tile.rows, tile.cols), false)
        }
        Kernel::Transform(_) => (format!("{name}.{body}transform_{position}"), false),
        Kernel::Block { .. }
        | Kernel::Step { .. }
        | Kernel::Strips { .. }
        | Kernel::Sums { .. }
        | Kernel::Gather { .. }
        | Kernel::Track { .. }
        | Kernel::Follow { .. }
        | Kernel::Entry(_)
        | Kernel::Intrinsic(_)
        | Kernel::Offsets => {
            (format!("{name}.{body}{}", kernel.to_string().replace(' ', "_")), false)
        }
    }
}
