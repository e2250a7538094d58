//! [`Outputs`], the files of one run of a build script.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// The file in which a run leaves the names of its files to the next one.
const LIST: &str = "nin-build.list";

/// What a build script writes for its models, in the folder that cargo has for it.
pub(crate) struct Outputs {
    folder: PathBuf,
    /// Names of models.
    models: Vec<String>,
    /// Names of files.
    files: Vec<String>,
}

impl Outputs {
    /// Begins a run: removes the files of the one before, which cargo leaves there. A library of a model that is gone could
    /// still be linked, and its wrapper be included.
    pub(crate) fn begin(folder: PathBuf) -> io::Result<Outputs> {
        let list = match fs::read_to_string(folder.join(LIST)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read?,
        };
        for file in list.lines() {
            match fs::remove_file(folder.join(file)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
        Ok(Outputs { folder, models: Vec::new(), files: Vec::new() })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes a model in.
    ///
    /// # Errors
    /// If there is one of that name; some file systems tell no capitals from small letters.
    pub(crate) fn admit(&mut self, name: &str) -> Result<(), String> {
        if let Some(there) = self.models.iter().find(|there| there.eq_ignore_ascii_case(name)) {
            let both =
                if there == name { format!("`{name}`") } else { format!("`{there}` and `{name}`") };
            return Err(format!(
                "two models of this package are called {both}, and the second would take the place of the first: give it another \
                 name, with `Options::name`"
            ));
        }
        self.models.push(name.to_owned());
        Ok(())
    }

    /// Writes a file, whose name is on the list before it is there.
    pub(crate) fn write(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.files.push(name.to_owned());
        fs::write(self.folder.join(LIST), self.files.join("\n") + "\n")?;
        fs::write(self.folder.join(name), content)
    }
}
