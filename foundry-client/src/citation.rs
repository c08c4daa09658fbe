//! Annotations of a text, unified.

use std::ops::Range;

use crate::content::{Annotation, Content, OutputText};
use crate::item::Message;

/// One source of an answer, whatever form the annotation had.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Citation {
    /// What is cited.
    pub source: CitationSource,
    /// A title or file name to show, when there is one.
    pub title: Option<String>,
    /// Where in the text, in Unicode code points. Empty where the annotation names a place instead of a span.
    pub span: Range<usize>,
}

/// What a [`Citation`] points at.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CitationSource {
    /// A web page. The address comes from the model: check it before it becomes a link.
    Url(String),
    /// A file of the knowledge base, by its id.
    File(String),
    /// A file that code wrote, by its container and its id.
    ContainerFile {
        /// The container's id.
        container_id: String,
        /// The file's id.
        file_id: String,
    },
}

impl Annotation {
    /// The annotation as a citation; none for one that is unknown.
    #[must_use]
    pub fn citation(&self) -> Option<Citation> {
        let place = |index: u64| usize::try_from(index).unwrap_or(usize::MAX);
        let named = |title: &Option<String>| title.clone().filter(|title| !title.trim().is_empty());
        Some(match self {
            Self::UrlCitation(url) => Citation {
                source: CitationSource::Url(url.url.clone()),
                title: named(&url.title),
                span: place(url.start_index)..place(url.end_index),
            },
            Self::FileCitation(file) => Citation {
                source: CitationSource::File(file.file_id.clone()),
                title: named(&file.filename),
                span: place(file.index)..place(file.index),
            },
            Self::ContainerFileCitation(file) => Citation {
                source: CitationSource::ContainerFile {
                    container_id: file.container_id.clone(),
                    file_id: file.file_id.clone(),
                },
                title: named(&file.filename),
                span: place(file.start_index)..place(file.end_index),
            },
            Self::FilePath(file) => Citation {
                source: CitationSource::File(file.file_id.clone()),
                title: None,
                span: place(file.index)..place(file.index),
            },
            Self::Unknown(_) => return None,
        })
    }
}

impl OutputText {
    /// The citations of this text, in the order of the service.
    pub fn citations(&self) -> impl Iterator<Item = Citation> {
        self.annotations.iter().filter_map(Annotation::citation)
    }

    /// The text with a mark such as `[1]` for each citation, and the cited sources in the order of their numbers.
    ///
    /// A span that is itself a mark of the service (`【4:0†source】`) is replaced, any other span keeps its words and the
    /// mark follows. One source has one number, however often it is cited. This is the form in which channels such as
    /// Teams take citations.
    ///
    /// ```
    /// # use foundry_client::Content;
    /// let part: Content = serde_json::from_str(
    ///     r#"{"type":"output_text","text":"Printers are on floor 2【4:0†map】.","annotations":[
    ///         {"type":"url_citation","url":"https://contoso.example/map","title":"Map","start_index":23,"end_index":32}]}"#,
    /// )?;
    /// let Content::OutputText(text) = part else { panic!() };
    /// let (marked, sources) = text.with_marks();
    /// assert_eq!(marked, "Printers are on floor 2 [1].");
    /// assert_eq!(sources[0].title.as_deref(), Some("Map"));
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn with_marks(&self) -> (String, Vec<Citation>) {
        let mut cited = CitedText::default();
        cited.push(self);
        (cited.text, cited.sources)
    }
}

/// A whole answer with marks such as `[1]`, and the sources behind them: what a channel with citations shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CitedText {
    /// The text with its marks.
    pub text: String,
    /// The sources in the order of their numbers. A span counts from the beginning of the part it was found in.
    pub sources: Vec<Citation>,
}

impl CitedText {
    /// The texts of these messages, one after the other, marked as in [`OutputText::with_marks`]. One source has one number
    /// in all of them.
    #[must_use]
    pub fn of<'a>(messages: impl IntoIterator<Item = &'a Message>) -> Self {
        let mut all = Self::default();
        for part in messages.into_iter().flat_map(|message| &message.content) {
            match part {
                Content::OutputText(text) => all.push(text),
                Content::InputText(text) => all.text.push_str(&text.text),
                _ => {}
            }
        }
        all
    }

    fn push(&mut self, text: &OutputText) {
        let mut cited: Vec<Citation> = text.citations().collect();
        cited.sort_by_key(|citation| (citation.span.end, citation.span.start));
        let mut marks = Vec::new();
        for citation in cited {
            let known = self.sources.iter().position(|source| source.source == citation.source);
            marks.push((citation.span.clone(), known.unwrap_or(self.sources.len()) + 1));
            if known.is_none() {
                self.sources.push(citation);
            }
        }
        self.text.push_str(&marked(&text.text, &marks));
    }
}

impl Message {
    /// The citations of all texts of the message, in order. Spans count from the beginning of their own text.
    pub fn citations(&self) -> impl Iterator<Item = Citation> {
        self.content.iter().flat_map(|part| match part {
            Content::OutputText(text) => text.citations().collect(),
            _ => Vec::new(),
        })
    }
}

/// Writes the marks; they are in the order of their ends.
fn marked(text: &str, marks: &[(Range<usize>, usize)]) -> String {
    let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let byte = |point: usize| places.get(point).copied().unwrap_or(text.len());
    let mut out = String::with_capacity(text.len() + marks.len() * 4);
    let mut written = 0;
    let mut last: Option<(usize, usize)> = None;
    for (span, number) in marks {
        let (start, end) = (byte(span.start), byte(span.end).max(byte(span.start)));
        let (start, end) = if start == end { mark_beside(text, end) } else { (start, end) };
        // The same source at the same place, twice.
        if last.replace((end, *number)) == Some((end, *number)) {
            continue;
        }
        let inner = text.get(start..end).unwrap_or_default();
        let keep = if inner.starts_with('【') && inner.ends_with('】') { start } else { end };
        out.push_str(text.get(written..keep.max(written)).unwrap_or_default());
        if !out.is_empty() && !out.ends_with([' ', '\n', ']']) {
            out.push(' ');
        }
        out.push_str(&format!("[{number}]"));
        written = written.max(end);
    }
    out.push_str(text.get(written..).unwrap_or_default());
    out
}

/// The mark of the service that ends or begins at this place; an annotation of a file names only the place.
fn mark_beside(text: &str, at: usize) -> (usize, usize) {
    let (before, after) = text.split_at_checked(at).unwrap_or((text, ""));
    if let Some(inner) = before.strip_suffix('】')
        && let Some(start) = inner.rfind('【')
        && !inner.get(start..).unwrap_or_default().contains('】')
    {
        return (start, at);
    }
    let end = after.strip_prefix('【').and_then(|inner| inner.find('】'));
    (at, end.map_or(at, |end| at + '【'.len_utf8() + end + '】'.len_utf8()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn text(text: &str, annotations: &serde_json::Value) -> OutputText {
        let part = json!({"type": "output_text", "text": text, "annotations": annotations});
        match serde_json::from_value(part).unwrap() {
            Content::OutputText(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_form_becomes_one() {
        let text = text(
            "x",
            &json!([
                {"type": "url_citation", "url": "https://a", "title": "A", "start_index": 0, "end_index": 1},
                {"type": "file_citation", "file_id": "f", "filename": "f.md", "index": 1},
                {"type": "container_file_citation", "container_id": "c", "file_id": "g", "filename": "", "start_index": 0,
                 "end_index": 1},
                {"type": "file_path", "file_id": "h", "index": 1},
                {"type": "hologram"}
            ]),
        );
        let all: Vec<_> = text.citations().map(|one| (one.source, one.title, one.span)).collect();
        let file = |id: &str| CitationSource::File(id.to_owned());
        let container = CitationSource::ContainerFile { container_id: "c".to_owned(), file_id: "g".to_owned() };
        assert_eq!(
            all,
            [
                (CitationSource::Url("https://a".to_owned()), Some("A".to_owned()), 0..1),
                (file("f"), Some("f.md".to_owned()), 1..1),
                (container, None, 0..1),
                (file("h"), None, 1..1),
            ]
        );
    }

    #[test]
    fn one_source_has_one_number_in_all_messages() {
        let message = |text: &str, annotations: serde_json::Value| -> Message {
            let part = json!({"type": "output_text", "text": text, "annotations": annotations});
            let item = json!({"type": "message", "role": "assistant", "content": [part]});
            match serde_json::from_value(item).unwrap() {
                crate::Item::Message(message) => message,
                other => panic!("{other:?}"),
            }
        };
        let url = |url: &str| json!([{"type": "url_citation", "url": url, "start_index": 0, "end_index": 3}]);
        let messages = [message("one. ", url("a")), message("two. ", url("b")), message("six.", url("a"))];
        let cited = CitedText::of(&messages);
        assert_eq!(cited.text, "one [1]. two [2]. six [1].");
        assert_eq!(cited.sources.len(), 2);
    }

    #[test]
    fn marks_stand_where_the_service_said() {
        let url = |url: &str, start: u64, end: u64| json!({"type": "url_citation", "url": url, "start_index": start, "end_index": end});
        let file = |index: u64| json!({"type": "file_citation", "file_id": "f", "filename": "f.md", "index": index});
        let cases = [
            ("äöü【1†x】 end", json!([url("a", 3, 8)]), "äöü [1] end"),
            ("one two", json!([url("a", 0, 3), url("b", 4, 7)]), "one [1] two [2]"),
            ("one two", json!([url("b", 4, 7), url("a", 0, 3)]), "one [1] two [2]"),
            ("x【1†a】【2†b】", json!([url("a", 1, 6), url("b", 6, 11)]), "x [1][2]"),
            ("one", json!([url("a", 0, 3), url("a", 0, 3)]), "one [1]"),
            ("one", json!([url("a", 0, 900), url("b", 7, 2)]), "one [1][2]"),
            ("", json!([url("a", 0, 0)]), "[1]"),
            ("plain", json!([]), "plain"),
            ("a【1†x】.", json!([file(6)]), "a [1]."),
            ("a【1†x】.", json!([file(1)]), "a [1]."),
            ("a【1†x】【2†y】.", json!([file(6), url("b", 6, 11)]), "a [1][2]."),
            ("a】.", json!([file(2)]), "a】 [1]."),
            ("【a", json!([file(0)]), "[1]【a"),
            ("ab", json!([file(900)]), "ab [1]"),
        ];
        for (before, annotations, after) in cases {
            assert_eq!(text(before, &annotations).with_marks().0, after, "{before}");
        }
    }
}
