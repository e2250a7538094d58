//! What code is generated for: an instruction set, its tile shape, and Cranelift's settings for it.

use std::fmt;
use std::str::FromStr;

use cranelift_codegen::isa::{CallConv, OwnedTargetIsa, TargetFrontendConfig, TargetIsa};
use cranelift_codegen::settings::{self, Configurable};

use crate::error::Error;
use crate::kernel::TileShape;

/// The choice of instruction set, `--isa`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Isa {
    /// The fastest that this CPU has.
    #[default]
    Auto,
    /// Vectors of four floats, on every CPU.
    Portable,
}

/// Every choice and its word.
const ISAS: [(Isa, &str); 2] = [(Isa::Auto, "auto"), (Isa::Portable, "portable")];

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = ISAS.iter().find(|(isa, _)| isa == self).map_or("", |(_, word)| word);
        f.write_str(word)
    }
}

impl FromStr for Isa {
    type Err = String;

    fn from_str(text: &str) -> Result<Isa, String> {
        let found = ISAS.iter().find(|(_, word)| *word == text).map(|(isa, _)| *isa);
        found.ok_or_else(|| {
            let words: Vec<&str> = ISAS.iter().map(|(_, word)| *word).collect();
            format!("no instruction set `{text}`: it is one of {}", words.join(", "))
        })
    }
}

/// A resolved target.
pub struct Target {
    /// Which makers write its tiles; never [`Isa::Auto`].
    pub name: Isa,
    /// A full tile.
    pub tile: TileShape,
    isa: OwnedTargetIsa,
    tile_isa: OwnedTargetIsa,
    fma: bool,
}

impl Target {
    /// The CPU this runs on.
    ///
    /// # Errors
    /// [`Error::Target`] if Cranelift has no back end for it.
    pub fn host(isa: Isa) -> Result<Target, Error> {
        let name = match isa {
            Isa::Auto | Isa::Portable => Isa::Portable,
        };
        // Blocks want the optimiser. It moves a tile's loads away from their uses until registers run out, so tiles are
        // translated in program order.
        let isa = host_isa("speed")?;
        let tile_isa = host_isa("none")?;
        let architecture = isa.triple().architecture;
        let flag = |name: &str| {
            isa.isa_flags().iter().find(|flag| flag.name == name).and_then(|flag| flag.as_bool())
        };
        let aarch64 = matches!(architecture, target_lexicon::Architecture::Aarch64(_));
        let fma = aarch64 || flag("has_fma") == Some(true);
        // 16 vector registers hold 8 sums, a row of B and a broadcast; 32 hold three times as many.
        let tile =
            if aarch64 { TileShape { rows: 6, cols: 16 } } else { TileShape { rows: 4, cols: 8 } };
        Ok(Target { name, tile, isa, tile_isa, fma })
    }

    pub(super) fn isa(&self) -> &dyn TargetIsa {
        &*self.isa
    }

    pub(super) fn tile_isa(&self) -> &dyn TargetIsa {
        &*self.tile_isa
    }

    /// Settings for a module that holds the code.
    pub(crate) fn owned_isa(&self) -> OwnedTargetIsa {
        self.isa.clone()
    }

    /// Whether it multiplies and adds in one instruction.
    pub fn fma(&self) -> bool {
        self.fma
    }

    pub(crate) fn call_conv(&self) -> CallConv {
        self.isa.default_call_conv()
    }

    pub(super) fn frontend(&self) -> TargetFrontendConfig {
        self.isa.frontend_config()
    }
}

fn host_isa(opt_level: &str) -> Result<OwnedTargetIsa, Error> {
    let mut flags = settings::builder();
    let verify = if cfg!(debug_assertions) { "true" } else { "false" };
    for (name, value) in
        [("opt_level", opt_level), ("is_pic", "false"), ("enable_verifier", verify)]
    {
        flags.set(name, value).expect("Cranelift has these settings");
    }
    let builder = cranelift_native::builder()
        .map_err(|reason| Error::Target { reason: reason.to_owned() })?;
    let isa = builder.finish(settings::Flags::new(flags));
    isa.map_err(|error| Error::Target { reason: error.to_string() })
}
