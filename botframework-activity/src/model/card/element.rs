use super::action::Action;
use super::input::{InputChoiceSet, InputDate, InputNumber, InputText, InputTime, InputToggle};
use super::table::Table;
use super::words::{
    Alignment, Color, ContainerStyle, ElementKind, FontType, ImageSize, ImageStyle, TextSize, TextWeight,
    VerticalAlignment,
};
use crate::model::object::wire_object;
use crate::model::raw::RawJson;
use crate::model::scalar::Scalar;
use crate::model::tagged::{setters, tagged};

tagged! {
    /// An element of an Adaptive Card. What has no type here is taken as JSON:
    ///
    /// ```
    /// use botframework_activity::card::{AdaptiveCard, Element};
    /// use serde_json::json;
    ///
    /// let card = AdaptiveCard::new().element(json!({ "type": "Carousel", "pages": [] }));
    /// assert_eq!(card.body[0].kind().as_str(), "Carousel");
    /// assert!(matches!(card.body[0], Element::Other(_)));
    /// ```
    pub enum Element by ElementKind {
        /// Text.
        TextBlock(TextBlock) = TEXT_BLOCK,
        /// Text in several styles.
        RichTextBlock(RichTextBlock) = RICH_TEXT_BLOCK,
        /// A picture.
        Image(Image) = IMAGE,
        /// Pictures side by side.
        ImageSet(ImageSet) = IMAGE_SET,
        /// Elements that belong together.
        Container(Container) = CONTAINER,
        /// Columns side by side.
        ColumnSet(ColumnSet) = COLUMN_SET,
        /// Pairs of names and values.
        FactSet(FactSet) = FACT_SET,
        /// A table.
        Table(Table) = TABLE,
        /// Buttons among the elements.
        ActionSet(ActionSet) = ACTION_SET,
        /// A text input.
        InputText(InputText) = INPUT_TEXT,
        /// A number input.
        InputNumber(InputNumber) = INPUT_NUMBER,
        /// A date input.
        InputDate(InputDate) = INPUT_DATE,
        /// A time input.
        InputTime(InputTime) = INPUT_TIME,
        /// A yes-or-no input.
        InputToggle(InputToggle) = INPUT_TOGGLE,
        /// A choice.
        InputChoiceSet(InputChoiceSet) = INPUT_CHOICE_SET,
    }
}

/// Declares an element: its own members, then those that every element has.
macro_rules! element {
    ($(#[$meta:meta])* pub struct $name:ident = $kind:ident { $($own:tt)* }) => {
        $crate::model::object::wire_object! {
            $(#[$meta])*
            pub struct $name {
                /// What it is.
                pub kind: $crate::model::card::ElementKind = "type" [$crate::model::card::ElementKind::$kind];
                $($own)*
                /// The id, for inputs and for showing and hiding.
                pub id: Option<String> = "id" show;
                /// The distance to the element before.
                pub spacing: Option<$crate::model::card::Spacing> = "spacing";
                /// Whether a line is drawn before it.
                pub separator: Option<bool> = "separator";
                /// Whether it is shown.
                pub is_visible: Option<bool> = "isVisible";
                /// `auto`, `stretch` or a number of pixels as in `80px`.
                pub height: Option<$crate::model::scalar::Scalar> = "height";
                /// What to show where it cannot be: `drop` or another element.
                pub fallback: Option<$crate::model::raw::RawJson> = "fallback";
                /// What the client must know, by name.
                pub requires: Option<$crate::model::raw::RawJson> = "requires";
            }
        }

        $crate::model::tagged::setters! { $name {
            /// Sets the id.
            id(String) => id;
            /// Sets the distance to the element before.
            spacing($crate::model::card::Spacing) => spacing;
            /// Draws a line before it.
            separator(bool) => separator;
            /// Shows or hides it.
            visible(bool) => is_visible;
            /// Sets the height.
            height($crate::model::scalar::Scalar) => height;
            /// Sets what to show where it cannot be.
            fallback($crate::model::raw::RawJson) => fallback;
        } }
    };
}

pub(super) use element;

element! {
    /// Text, with a subset of Markdown:
    /// [`TextBlock`](https://adaptivecards.microsoft.com/?topic=TextBlock). It wraps unless told otherwise.
    pub struct TextBlock = TEXT_BLOCK {
        /// The text.
        pub text: Option<String> = "text";
        /// How large it is.
        pub size: Option<TextSize> = "size";
        /// How bold it is.
        pub weight: Option<TextWeight> = "weight";
        /// Its colour.
        pub color: Option<Color> = "color";
        /// Whether it is less prominent.
        pub is_subtle: Option<bool> = "isSubtle";
        /// The font.
        pub font_type: Option<FontType> = "fontType";
        /// Left, centre or right.
        pub horizontal_alignment: Option<Alignment> = "horizontalAlignment";
        /// Whether it may take several lines.
        pub wrap: Option<bool> = "wrap";
        /// How many lines at most.
        pub max_lines: Option<i64> = "maxLines";
        /// `default`, `columnHeader` or `heading`.
        pub style: Option<String> = "style" show;
    }
}

impl TextBlock {
    /// This text, on as many lines as it needs.
    #[inline]
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), wrap: Some(true), ..Self::default() }
    }

    /// A heading.
    #[inline]
    pub fn heading(text: impl Into<String>) -> Self {
        Self::new(text).size(TextSize::LARGE).weight(TextWeight::BOLDER).style("heading")
    }
}

setters! { TextBlock {
    /// Sets how large it is.
    size(TextSize) => size;
    /// Sets how bold it is.
    weight(TextWeight) => weight;
    /// Sets its colour.
    color(Color) => color;
    /// Makes it less prominent.
    subtle(bool) => is_subtle;
    /// Sets the font.
    font(FontType) => font_type;
    /// Sets where it stands.
    align(Alignment) => horizontal_alignment;
    /// Sets whether it may take several lines.
    wrap(bool) => wrap;
    /// Sets how many lines at most.
    max_lines(i64) => max_lines;
    /// Sets the style, `heading` for one.
    style(String) => style;
} }

impl From<&str> for Element {
    #[inline]
    fn from(text: &str) -> Self {
        TextBlock::new(text).into()
    }
}

element! {
    /// Text in several styles: [`RichTextBlock`](https://adaptivecards.microsoft.com/?topic=RichTextBlock).
    pub struct RichTextBlock = RICH_TEXT_BLOCK {
        /// The pieces.
        pub inlines: Vec<Inline> = "inlines";
        /// Left, centre or right.
        pub horizontal_alignment: Option<Alignment> = "horizontalAlignment";
    }
}

impl RichTextBlock {
    /// These pieces: texts, or [`TextRun`]s.
    #[inline]
    pub fn new<I: Into<Inline>>(inlines: impl IntoIterator<Item = I>) -> Self {
        Self { inlines: inlines.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Adds a piece.
    #[must_use]
    #[inline]
    pub fn inline(mut self, inline: impl Into<Inline>) -> Self {
        self.inlines.push(inline.into());
        self
    }
}

tagged! {
    /// A piece of a rich text: a run, or a bare string, which is kept as it came.
    pub enum Inline by ElementKind {
        /// Text of one style.
        Run(TextRun) = TEXT_RUN,
    }
}

impl From<&str> for Inline {
    #[inline]
    fn from(text: &str) -> Self {
        TextRun::new(text).into()
    }
}

wire_object! {
    /// Text of one style.
    pub struct TextRun {
        /// Always `TextRun`.
        pub kind: ElementKind = "type" [ElementKind::TEXT_RUN];
        /// The text. It is no Markdown.
        pub text: Option<String> = "text";
        /// How large it is.
        pub size: Option<TextSize> = "size";
        /// How bold it is.
        pub weight: Option<TextWeight> = "weight";
        /// Its colour.
        pub color: Option<Color> = "color";
        /// Whether it is less prominent.
        pub is_subtle: Option<bool> = "isSubtle";
        /// The font.
        pub font_type: Option<FontType> = "fontType";
        /// Whether it is slanted.
        pub italic: Option<bool> = "italic";
        /// Whether it is crossed out.
        pub strikethrough: Option<bool> = "strikethrough";
        /// Whether it is underlined.
        pub underline: Option<bool> = "underline";
        /// Whether it is marked.
        pub highlight: Option<bool> = "highlight";
        /// What a click does.
        pub select_action: Option<Action> = "selectAction";
    }
}

impl TextRun {
    /// This text.
    #[inline]
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), ..Self::default() }
    }
}

setters! { TextRun {
    /// Sets how large it is.
    size(TextSize) => size;
    /// Sets how bold it is.
    weight(TextWeight) => weight;
    /// Sets its colour.
    color(Color) => color;
    /// Makes it less prominent.
    subtle(bool) => is_subtle;
    /// Sets the font.
    font(FontType) => font_type;
    /// Slants it.
    italic(bool) => italic;
    /// Crosses it out.
    strikethrough(bool) => strikethrough;
    /// Underlines it.
    underline(bool) => underline;
    /// Marks it.
    highlight(bool) => highlight;
    /// Sets what a click does.
    select_action(Action) => select_action;
} }

element! {
    /// A picture: [`Image`](https://adaptivecards.microsoft.com/?topic=Image).
    pub struct Image = IMAGE {
        /// Where it is.
        pub url: Option<String> = "url";
        /// The picture in words.
        pub alt_text: Option<String> = "altText";
        /// How large it is.
        pub size: Option<ImageSize> = "size";
        /// Its shape.
        pub style: Option<ImageStyle> = "style";
        /// The width, `80px` for one.
        pub width: Option<Scalar> = "width";
        /// Left, centre or right.
        pub horizontal_alignment: Option<Alignment> = "horizontalAlignment";
        /// The colour behind it.
        pub background_color: Option<String> = "backgroundColor" show;
        /// What a click does.
        pub select_action: Option<Action> = "selectAction";
    }
}

impl Image {
    /// The picture at this address.
    #[inline]
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: Some(url.into()), ..Self::default() }
    }
}

setters! { Image {
    /// Sets the picture in words.
    alt(String) => alt_text;
    /// Sets how large it is.
    size(ImageSize) => size;
    /// Sets its shape.
    style(ImageStyle) => style;
    /// Sets the width.
    width(Scalar) => width;
    /// Sets where it stands.
    align(Alignment) => horizontal_alignment;
    /// Sets what a click does.
    select_action(Action) => select_action;
} }

element! {
    /// Pictures side by side: [`ImageSet`](https://adaptivecards.microsoft.com/?topic=ImageSet).
    pub struct ImageSet = IMAGE_SET {
        /// The pictures.
        pub images: Vec<Image> = "images";
        /// How large each is.
        pub image_size: Option<ImageSize> = "imageSize";
    }
}

impl ImageSet {
    /// These pictures.
    #[inline]
    pub fn new(images: impl IntoIterator<Item = Image>) -> Self {
        Self { images: images.into_iter().collect(), ..Self::default() }
    }
}

setters! { ImageSet {
    /// Sets how large each is.
    size(ImageSize) => image_size;
} }

/// What everything has that holds other elements.
macro_rules! holds_elements {
    ($name:ident) => {
        impl $name {
            /// An empty one.
            #[must_use]
            #[inline]
            pub fn new() -> Self {
                Self::default()
            }

            /// Adds an element.
            #[must_use]
            #[inline]
            pub fn element(mut self, element: impl Into<Element>) -> Self {
                self.items.push(element.into());
                self
            }
        }

        setters! { $name {
            /// Sets how it looks.
            style(ContainerStyle) => style;
            /// Lets it reach to the edges.
            bleed(bool) => bleed;
            /// Sets where the content stands.
            align_content(VerticalAlignment) => vertical_content_alignment;
            /// Sets the least height.
            min_height(Scalar) => min_height;
            /// Sets what a click does.
            select_action(Action) => select_action;
        } }
    };
}

element! {
    /// Elements that belong together: [`Container`](https://adaptivecards.microsoft.com/?topic=Container).
    pub struct Container = CONTAINER {
        /// The elements.
        pub items: Vec<Element> = "items";
        /// How it looks.
        pub style: Option<ContainerStyle> = "style";
        /// Whether it reaches to the edges.
        pub bleed: Option<bool> = "bleed";
        /// Where the content stands.
        pub vertical_content_alignment: Option<VerticalAlignment> = "verticalContentAlignment";
        /// The least height.
        pub min_height: Option<Scalar> = "minHeight";
        /// The picture behind it: an address or an object.
        pub background_image: Option<RawJson> = "backgroundImage";
        /// Whether it runs from right to left.
        pub rtl: Option<bool> = "rtl";
        /// What a click does.
        pub select_action: Option<Action> = "selectAction";
    }
}

holds_elements!(Container);

element! {
    /// Columns side by side: [`ColumnSet`](https://adaptivecards.microsoft.com/?topic=ColumnSet).
    ///
    /// ```
    /// use botframework_activity::card::{AdaptiveCard, Column, ColumnSet, Image};
    ///
    /// let columns = ColumnSet::new()
    ///     .column(Column::new().width("auto").element(Image::new("https://contoso.com/ada.png")))
    ///     .column(Column::new().width("stretch").element("Ada Lovelace"));
    /// let card = AdaptiveCard::new().element(columns);
    /// ```
    pub struct ColumnSet = COLUMN_SET {
        /// The columns.
        pub columns: Vec<Column> = "columns";
        /// How it looks.
        pub style: Option<ContainerStyle> = "style";
        /// Whether it reaches to the edges.
        pub bleed: Option<bool> = "bleed";
        /// The least height.
        pub min_height: Option<Scalar> = "minHeight";
        /// Left, centre or right.
        pub horizontal_alignment: Option<Alignment> = "horizontalAlignment";
        /// What a click does.
        pub select_action: Option<Action> = "selectAction";
    }
}

impl ColumnSet {
    /// No column yet.
    #[must_use]
    #[inline]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a column.
    #[must_use]
    #[inline]
    pub fn column(mut self, column: Column) -> Self {
        self.columns.push(column);
        self
    }
}

setters! { ColumnSet {
    /// Sets how it looks.
    style(ContainerStyle) => style;
    /// Sets what a click does.
    select_action(Action) => select_action;
} }

element! {
    /// A column: [`Column`](https://adaptivecards.microsoft.com/?topic=Column).
    pub struct Column = COLUMN {
        /// The elements.
        pub items: Vec<Element> = "items";
        /// `auto`, `stretch`, a share such as `2`, or pixels as in `80px`.
        pub width: Option<Scalar> = "width";
        /// How it looks.
        pub style: Option<ContainerStyle> = "style";
        /// Whether it reaches to the edges.
        pub bleed: Option<bool> = "bleed";
        /// Where the content stands.
        pub vertical_content_alignment: Option<VerticalAlignment> = "verticalContentAlignment";
        /// The least height.
        pub min_height: Option<Scalar> = "minHeight";
        /// The picture behind it: an address or an object.
        pub background_image: Option<RawJson> = "backgroundImage";
        /// Whether it runs from right to left.
        pub rtl: Option<bool> = "rtl";
        /// What a click does.
        pub select_action: Option<Action> = "selectAction";
    }
}

holds_elements!(Column);

setters! { Column {
    /// Sets the width.
    width(Scalar) => width;
} }

element! {
    /// Pairs of names and values: [`FactSet`](https://adaptivecards.microsoft.com/?topic=FactSet).
    pub struct FactSet = FACT_SET {
        /// The pairs.
        pub facts: Vec<Fact> = "facts";
    }
}

impl FactSet {
    /// These pairs.
    #[inline]
    pub fn new<F: Into<Fact>>(facts: impl IntoIterator<Item = F>) -> Self {
        Self { facts: facts.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Adds a pair.
    #[must_use]
    #[inline]
    pub fn fact(mut self, title: impl Into<String>, value: impl Into<String>) -> Self {
        self.facts.push(Fact { title: Some(title.into()), value: Some(value.into()), ..Fact::default() });
        self
    }
}

wire_object! {
    /// A name and a value.
    pub struct Fact {
        /// The name.
        pub title: Option<String> = "title";
        /// The value.
        pub value: Option<String> = "value";
    }
}

impl<T: Into<String>, V: Into<String>> From<(T, V)> for Fact {
    #[inline]
    fn from((title, value): (T, V)) -> Self {
        Self { title: Some(title.into()), value: Some(value.into()), ..Self::default() }
    }
}

element! {
    /// Buttons among the elements: [`ActionSet`](https://adaptivecards.microsoft.com/?topic=ActionSet).
    pub struct ActionSet = ACTION_SET {
        /// The buttons.
        pub actions: Vec<Action> = "actions";
        /// Left, centre or right.
        pub horizontal_alignment: Option<Alignment> = "horizontalAlignment";
    }
}

impl ActionSet {
    /// No button yet.
    #[must_use]
    #[inline]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a button.
    #[must_use]
    #[inline]
    pub fn action(mut self, action: impl Into<Action>) -> Self {
        self.actions.push(action.into());
        self
    }
}
