//! What a build script finds in its folder, and what it is told.

use std::collections::BTreeMap;
use std::fs;

use super::*;

const TARGET: &str = "x86_64-unknown-linux-gnu";
const MODEL: &str = "model NAME(width = 4) < input(1, 8, 8) conv(width) relu conv(3) gap softmax >";

/// A folder with a model `m.nin` and one for outputs.
struct Package(tempfile::TempDir);

impl Package {
    fn new(model: &str) -> Package {
        let package = Package(tempfile::tempdir().expect("a folder"));
        package.edit(model);
        fs::create_dir(package.0.path().join("out")).expect("a folder");
        package
    }

    /// Gives the model another name.
    fn edit(&self, model: &str) {
        fs::write(self.0.path().join("m.nin"), MODEL.replace("NAME", model)).expect("a model");
    }

    /// What a build script's process begins with.
    fn run(&self) -> Outputs {
        Outputs::begin(self.0.path().join("out")).expect("a run")
    }

    fn compile(&self, outputs: &mut Outputs, options: &Options) -> Result<String, String> {
        let file = self.0.path().join("m.nin");
        build(&file, options, TARGET, outputs).map_err(|error| error.to_string())
    }

    /// The files of the run, without their list.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(self.0.path().join("out")).expect("a folder");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
        let files = paths.map(|path| (name(&path), fs::read(&path).expect("a file")));
        files.filter(|(name, _)| name != "nin-build.list").collect()
    }
}

fn named(name: &str) -> Options {
    Options { name: Some(name.to_owned()), ..Options::default() }
}

#[test]
fn no_library_has_a_name_of_the_systems() {
    for name in ["M", "C", "Gcc_s", "z", "pthread"] {
        let package = Package::new(name);
        let lines = package.compile(&mut package.run(), &Options::default()).expect("a library");
        let small = name.to_lowercase();
        let (archives, others): (Vec<String>, Vec<String>) =
            package.files().into_keys().partition(|file| file.ends_with(".a"));
        let [archive] = &*archives else { panic!("{archives:?}") };
        assert!(archive.starts_with(&format!("libnin_{small}_")), "{archive}");
        assert_eq!(others, [format!("{small}.rs")]);
        let link = archive.trim_start_matches("lib").trim_end_matches(".a");
        assert!(lines.contains(&format!("cargo::rustc-link-lib=static={link}\n")), "{lines}");
    }
}

#[test]
fn what_a_run_before_wrote_does_not_stay() {
    let package = Package::new("First");
    let mut outputs = package.run();
    package.compile(&mut outputs, &Options::default()).expect("a library");
    package.compile(&mut outputs, &named("second")).expect("a library");
    let first = package.files();
    assert_eq!(first.len(), 4, "{:?}", first.keys());
    // The user's own file is theirs.
    fs::write(package.0.path().join("out/mine.rs"), "").expect("a file");
    package.edit("Third");
    package.compile(&mut package.run(), &Options::default()).expect("a library");
    let names: Vec<String> = package.files().into_keys().collect();
    let [archive, mine, wrapper] = &*names else { panic!("{names:?}") };
    assert!(archive.starts_with("libnin_third_"), "{archive}");
    assert_eq!([mine, wrapper], ["mine.rs", "third.rs"]);
}

#[test]
fn two_models_of_one_name_are_refused() {
    let package = Package::new("Net");
    let mut outputs = package.run();
    package.compile(&mut outputs, &Options::default()).expect("a library");
    let before = package.files();
    for name in ["net", "Net"] {
        let error = package.compile(&mut outputs, &named(name)).expect_err("a second one");
        assert!(error.contains("`Options::name`") && error.contains("`net`"), "{error}");
    }
    assert!(package.files() == before);
    package.compile(&mut outputs, &named("other")).expect("another name");
}

#[test]
fn the_same_input_gives_the_same_files_and_another_input_other_names() {
    let made = |options: &Options| {
        let package = Package::new("Net");
        package.compile(&mut package.run(), options).expect("a library");
        package.files()
    };
    let wide = Options { params: vec![("width".to_owned(), Number::Whole(5))], ..named("net") };
    let training = Options { train: true, ..Options::default() };
    for options in [Options::default(), wide.clone(), training] {
        assert!(made(&options) == made(&options), "{options:?}");
    }
    let (narrow, wide) = (made(&Options::default()), made(&wide));
    assert!(narrow.keys().ne(wide.keys()), "{:?}", narrow.keys());
}
