//! The blocks of a text: their parameters, what a use of one gives them, and that none uses itself.

use std::collections::BTreeMap;

use super::{Declared, declare, is_taken, never_used, reserved};
use crate::ast::{self, Item};
use crate::diagnostic::{Code, Diagnostic, list};
use crate::eval::{Scope, evaluate};
use crate::layer::args::{Formal, Signature, assign, missing_arguments};
use crate::number::Number;

/// The blocks a chain may use.
#[derive(Debug)]
pub(super) struct Blocks<'m> {
    list: Vec<JudgedBlock<'m>>,
    /// Of two with one name the first counts.
    by_name: BTreeMap<&'m str, usize>,
}

/// A block whose head has been judged.
#[derive(Debug)]
pub(super) struct JudgedBlock<'m> {
    pub(super) definition: &'m ast::Block,
    params: Vec<Declared<'m>>,
}

impl<'m> Blocks<'m> {
    /// Judges the blocks' heads, that their parameters are used, and that they do not use one another in a circle.
    pub(super) fn new(definitions: &'m [ast::Block], sink: &mut Vec<Diagnostic>) -> Blocks<'m> {
        let mut blocks = Blocks { list: vec![], by_name: BTreeMap::new() };
        for definition in definitions {
            let name = &definition.name;
            sink.extend(reserved(name, "block"));
            let slots = definition.slots.iter();
            let params = declare(slots.map(|slot| (&slot.name, slot.default.as_ref())), sink);
            let mut scope = Scope::of_block(&name.text);
            params.iter().for_each(|param| scope.define(&param.name.text, param.value));
            mark_used(&definition.chain, &mut scope);
            sink.extend(params.iter().filter_map(|param| never_used(param.name, &scope)));
            if let Some(&first) = blocks.by_name.get(name.text.as_str()) {
                let first: &JudgedBlock<'_> = &blocks.list[first];
                let message = format!("two blocks are called `{}`", name.text);
                sink.push(
                    Diagnostic::new(Code::DuplicateBlock, message)
                        .label(name.span, "the second")
                        .label(first.definition.name.span, "the first"),
                );
                continue;
            }
            blocks.by_name.insert(&name.text, blocks.list.len());
            blocks.list.push(JudgedBlock { definition, params });
        }
        sink.extend(circles(&blocks));
        blocks
    }

    /// The block of this name, by its place in the list.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub(super) fn get(&self, place: usize) -> &JudgedBlock<'m> {
        &self.list[place]
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// A warning for each block that is not among the used ones.
    pub(super) fn unused(&self, used: &[bool]) -> impl Iterator<Item = Diagnostic> {
        let names = self.list.iter().map(|block| &block.definition.name);
        let idle = names.zip(used).filter(|(name, used)| !*used && !is_taken(&name.text));
        idle.map(|(name, _)| {
            Diagnostic::new(Code::UnusedBlock, format!("the block `{}` is never used", name.text))
                .label(name.span, "never used")
                .help("use it in the model's chain, or remove it")
        })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'m str> {
        self.list.iter().map(|block| block.definition.name.text.as_str())
    }
}

/// Marks the parameters that a chain names.
pub(super) fn mark_used(chain: &[Item], scope: &mut Scope<'_>) {
    for item in chain {
        match item {
            Item::Call(call) => {
                call.args.iter().for_each(|arg| scope.mark_used(&arg.value));
                call.branches.iter().for_each(|branch| mark_used(&branch.chain, scope));
            }
            Item::Repeat(repeat) => {
                scope.mark_used(&repeat.count);
                mark_used(&repeat.chain, scope);
            }
        }
    }
}

impl<'m> JudgedBlock<'m> {
    /// The parameters under the arguments of one use, which are values in the scope it stands in. Every error goes to
    /// `sink`, and leaves a parameter without a value.
    pub(super) fn bind(
        &self,
        call: &ast::Call,
        outer: &mut Scope<'_>,
        sink: &mut Vec<Diagnostic>,
    ) -> Scope<'m> {
        let name = self.definition.name.text.as_str();
        let formal = |param: &Declared<'m>| {
            let name = param.name.text.as_str();
            Formal { name, key: name, also: &[] }
        };
        let formals = self.params.iter().map(formal).collect();
        let errors_before = sink.len();
        let slots =
            assign(&Signature { word: name, formals, takes_list: false }, call, outer, sink);
        let mut scope = Scope::of_block(name);
        let mut missing = vec![];
        for (param, written) in self.params.iter().zip(&slots) {
            let value = match written.first() {
                Some(argument) => {
                    let value = evaluate(&argument.value, outer, sink);
                    value.and_then(|value| given(name, param, value, argument, sink))
                }
                None => {
                    if param.default.is_none() {
                        missing.push(param.name.text.as_str());
                    }
                    param.value
                }
            };
            scope.define(&param.name.text, value);
        }
        if !missing.is_empty() && sink.len() == errors_before {
            let what = list(missing.iter().copied(), "and");
            let diagnostic = missing_arguments(call, missing.into_iter(), &what, &self.usage());
            sink.push(diagnostic.label(self.definition.name.span, "the block"));
        }
        scope
    }

    /// A use as one would write it: `stage(c, kernel = 5)`.
    fn usage(&self) -> String {
        let param = |param: &Declared<'_>| match param.default {
            Some(default) => format!("{} = {default}", param.name.text),
            None => param.name.text.clone(),
        };
        let params: Vec<String> = self.params.iter().map(param).collect();
        format!("`{}({})`", self.definition.name.text, params.join(", "))
    }
}

/// The value of a block's parameter that is given one: whole or real as its default is, if it has one.
fn given(
    block: &str,
    param: &Declared<'_>,
    value: Number,
    argument: &ast::Argument,
    sink: &mut Vec<Diagnostic>,
) -> Option<Number> {
    match (param.value, value) {
        (Some(Number::Real(_)), value) => Some(Number::Real(value.as_f64())),
        (Some(Number::Whole(_)), Number::Real(real)) => {
            let message = format!("`{}` of `{block}` is whole, not {real:?}", param.name.text);
            let mut diagnostic = Diagnostic::new(Code::WrongKind, message)
                .label(argument.value.span, "expected a whole number");
            if let Some(default) = param.default {
                diagnostic = diagnostic.label(default.span, "a whole default makes it whole");
            }
            sink.push(diagnostic);
            None
        }
        (Some(Number::Whole(_)) | None, value) => Some(value),
    }
}

/// How far the search for circles has got with a block.
#[derive(Clone, Copy, PartialEq)]
enum Search {
    New,
    /// It is on the path being searched.
    Open,
    Done,
}

/// An error for each block that uses itself, at the use that closes the first circle found.
fn circles(blocks: &Blocks<'_>) -> Vec<Diagnostic> {
    let uses: Vec<_> = (0..blocks.len())
        .map(|place| {
            let mut uses = BTreeMap::new();
            collect_uses(&blocks.get(place).definition.chain, blocks, &mut uses);
            uses
        })
        .collect();
    let mut search = vec![Search::New; blocks.len()];
    let (mut path, mut found) = (vec![], BTreeMap::new());
    for start in 0..blocks.len() {
        follow(start, &uses, blocks, &mut search, &mut path, &mut found);
    }
    found.into_values().collect()
}

/// The first use of each block that a chain uses, by the block's place.
pub(super) fn collect_uses<'m>(
    chain: &'m [Item],
    blocks: &Blocks<'_>,
    uses: &mut BTreeMap<usize, &'m ast::Call>,
) {
    for item in chain {
        match item {
            Item::Call(call) => {
                if let Some(place) = blocks.find(&call.word.text) {
                    uses.entry(place).or_insert(call);
                }
                call.branches.iter().for_each(|branch| collect_uses(&branch.chain, blocks, uses));
            }
            Item::Repeat(repeat) => collect_uses(&repeat.chain, blocks, uses),
        }
    }
}

fn follow(
    place: usize,
    uses: &[BTreeMap<usize, &ast::Call>],
    blocks: &Blocks<'_>,
    search: &mut [Search],
    path: &mut Vec<usize>,
    found: &mut BTreeMap<usize, Diagnostic>,
) {
    if search[place] != Search::New {
        return;
    }
    search[place] = Search::Open;
    path.push(place);
    for (&next, call) in &uses[place] {
        if search[next] == Search::Open {
            found.entry(next).or_insert_with(|| circle(next, call, path, blocks));
        }
        follow(next, uses, blocks, search, path, found);
    }
    path.pop();
    search[place] = Search::Done;
}

/// The error of a use at the end of `path` that closes a circle at the block `start`.
fn circle(start: usize, call: &ast::Call, path: &[usize], blocks: &Blocks<'_>) -> Diagnostic {
    /// Longer circles are not spelt out.
    const SPELT: usize = 4;
    let name = |&place: &usize| blocks.get(place).definition.name.text.as_str();
    let between: Vec<_> = path.iter().skip_while(|&&place| place != start).skip(1).collect();
    let by_way = match between.len() {
        0 => String::new(),
        1..=SPELT => format!(" by way of {}", list(between.into_iter().map(name), "and")),
        more => format!(" by way of {more} others"),
    };
    Diagnostic::new(
        Code::RecursiveBlock,
        format!("the block `{}` uses itself{by_way}", name(&start)),
    )
    .label(call.span, "the use that closes the circle")
    .label(blocks.get(start).definition.name.span, "the block")
    .help("a block cannot contain itself; `repeat(n) < ... >` repeats a chain")
}
