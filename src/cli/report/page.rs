//! The page itself: HTML with its style and pictures inside.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nin::train::Evaluation;

use super::{Facts, MISTAKES, Mistake};
use crate::cli::amounts::grouped;
use crate::cli::visible::visible_lines;

/// Classes of which a confusion matrix is a table that can be read.
const READABLE: usize = 20;
const STYLE: &str = "
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2730; max-width: 1060px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.6em; margin-bottom: 0; } h2 { font-size: 1.15em; margin-top: 2em; }
.lead { color: #616d7a; margin-top: 0; } .big { font-size: 1.3em; }
.curves { display: flex; flex-wrap: wrap; gap: 8px; }
.curves svg { width: 500px; height: 300px; }
table.confusion { border-collapse: collapse; font-size: 13px; }
table.confusion td, table.confusion th { padding: 3px 7px; text-align: right; font-weight: normal; }
table.confusion th { color: #616d7a; }
.mistakes { display: flex; flex-wrap: wrap; gap: 14px; }
figure { margin: 0; width: 104px; font-size: 12px; line-height: 1.3; color: #616d7a; overflow-wrap: break-word; }
figure img { display: block; margin-bottom: 3px; } figure b { color: #1f2730; }
img { image-rendering: pixelated; max-width: 100%; }
pre { background: #f4f6f8; padding: 0.8em 1em; overflow-x: auto; font-size: 13px; }
";

pub(super) fn html(facts: &Facts) -> String {
    let mut page = String::new();
    let name = escaped(&facts.model);
    let mut part = |text: String| {
        page.push_str(&text);
        page.push('\n');
    };
    part(format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{name}</title><style>{STYLE}</style></head>\n\
         <body>\n<h1>{name}</h1>\n<p class=\"lead\">{} parameters, trained on {}</p>",
        grouped(facts.params),
        escaped(&facts.data)
    ));
    if let Some(test) = &facts.test {
        part(format!(
            "<p class=\"big\"><b>{:.2} %</b> of {} test images recognised, loss {:.4}</p>",
            100.0 * test.accuracy(),
            grouped(test.images as u64),
            test.loss
        ));
        if !test.dead.is_empty() {
            let dead: Vec<String> =
                test.dead.iter().map(|&class| escaped(&facts.classes[class])).collect();
            part(format!(
                "<p><b>Dead outputs</b>, zero on every test image: {}</p>",
                dead.join(", ")
            ));
        }
    }
    if let Some(curves) = &facts.curves {
        part(format!("<h2>Curves</h2>\n<div class=\"curves\">{curves}</div>"));
    }
    if let Some(test) = &facts.test {
        part(confusion(test, &facts.classes));
    }
    if !facts.mistakes.is_empty() {
        part(mistakes(facts));
    }
    if let Some(filters) = &facts.filters {
        let text = "The kernels of the first convolution, each from its least to its largest number; zero is middle grey.";
        part(format!("<h2>First filters</h2>\n<p>{text}</p>\n{}", picture(filters, "filters")));
    }
    if let Some(maps) = &facts.maps {
        let text = "The last maps before the head, in the order of their channels, for the first test image of each class: \
                    the strongest tenth of each image's activations.";
        part(format!("<h2>Feature maps</h2>\n<p>{text}</p>\n{}", picture(maps, "feature maps")));
    }
    part(format!("<h2>Model</h2>\n<pre>{}</pre>", escaped(facts.text.trim_end())));
    part(format!(
        "<h2>Recipe</h2>\n<pre>{}</pre>\n</body></html>",
        escaped(facts.recipe.trim_end())
    ));
    page
}

/// The counts as a table, darker where there are more; of many classes the pairs that are confused most.
fn confusion(test: &Evaluation, classes: &[String]) -> String {
    let mut text = "<h2>Confusion</h2>\n".to_owned();
    if classes.len() > READABLE {
        let pairs = test.confusion.iter().enumerate().flat_map(|(class, row)| {
            row.iter().enumerate().map(move |(predicted, &count)| (count, class, predicted))
        });
        let mut pairs: Vec<(u64, usize, usize)> =
            pairs.filter(|&(count, class, predicted)| count > 0 && class != predicted).collect();
        pairs
            .sort_by_key(|&(count, class, predicted)| (std::cmp::Reverse(count), class, predicted));
        text.push_str(
            "<table class=\"confusion\"><tr><th>images</th><th>of</th><th>taken for</th></tr>",
        );
        for (count, class, predicted) in pairs.into_iter().take(READABLE) {
            let [class, predicted] = [class, predicted].map(|class| escaped(&classes[class]));
            add(
                &mut text,
                format_args!("<tr><td>{count}</td><td>{class}</td><td>{predicted}</td></tr>"),
            );
        }
        text.push_str("</table>");
        return text;
    }
    text.push_str("<p>A row a true class, a column a predicted one.</p>\n<table class=\"confusion\"><tr><th></th>");
    for class in classes {
        add(&mut text, format_args!("<th>{}</th>", escaped(class)));
    }
    text.push_str("<th></th></tr>\n");
    for (class, (row, share)) in test.confusion.iter().zip(test.per_class()).enumerate() {
        add(&mut text, format_args!("<tr><th>{}</th>", escaped(&classes[class])));
        let images = row.iter().sum::<u64>().max(1) as f64;
        for (predicted, &count) in row.iter().enumerate() {
            let colour = if predicted == class { "0,114,178" } else { "213,94,0" };
            // Mistakes are few: their roots can be told apart.
            let depth = (count as f64 / images).sqrt() * 0.7;
            add(
                &mut text,
                format_args!("<td style=\"background:rgba({colour},{depth:.3})\">{count}</td>"),
            );
        }
        add(&mut text, format_args!("<td>{:.2} %</td></tr>\n", 100.0 * share));
    }
    text.push_str("</table>");
    text
}

fn mistakes(facts: &Facts) -> String {
    let mut text = format!(
        "<h2>Worst mistakes</h2>\n<p>The {} wrong answers that were given with most certainty{}.</p>\n<div class=\"mistakes\">",
        facts.mistakes.len(),
        if facts.mistakes.len() < MISTAKES { ": all there are" } else { "" }
    );
    for Mistake { image, label, predicted, probability, png } in &facts.mistakes {
        let [label, predicted] = [label, predicted].map(|&class| escaped(&facts.classes[class]));
        let picture = picture(png, &format!("test image {image}"));
        let certainty = 100.0 * probability;
        let caption = format_args!(
            "<figure>{picture}<b>{label}</b>, taken for <b>{predicted}</b> by {certainty:.1} %; no. {image}</figure>\n"
        );
        add(&mut text, caption);
    }
    text.push_str("</div>");
    text
}

fn picture(png: &[u8], what: &str) -> String {
    format!("<img alt=\"{what}\" src=\"data:image/png;base64,{}\">", STANDARD.encode(png))
}

fn add(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more).expect("a string takes any text");
}

/// A text that HTML shows as it is.
fn escaped(text: &str) -> String {
    let text = visible_lines(text);
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
