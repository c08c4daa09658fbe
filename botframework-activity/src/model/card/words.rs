use crate::model::words::vocabulary;

vocabulary! {
    /// What an element of an Adaptive Card is: its `type`.
    pub struct ElementKind {
        TEXT_BLOCK = "TextBlock",
        RICH_TEXT_BLOCK = "RichTextBlock",
        IMAGE = "Image",
        IMAGE_SET = "ImageSet",
        CONTAINER = "Container",
        COLUMN_SET = "ColumnSet",
        FACT_SET = "FactSet",
        TABLE = "Table",
        ACTION_SET = "ActionSet",
        INPUT_TEXT = "Input.Text",
        INPUT_NUMBER = "Input.Number",
        INPUT_DATE = "Input.Date",
        INPUT_TIME = "Input.Time",
        INPUT_TOGGLE = "Input.Toggle",
        INPUT_CHOICE_SET = "Input.ChoiceSet",
        TEXT_RUN = "TextRun",
        COLUMN = "Column",
        TABLE_ROW = "TableRow",
        TABLE_CELL = "TableCell",
        ADAPTIVE_CARD = "AdaptiveCard",
    }
}

vocabulary! {
    /// What an action of an Adaptive Card is: its `type`.
    pub struct ActionKind {
        EXECUTE = "Action.Execute",
        SUBMIT = "Action.Submit",
        OPEN_URL = "Action.OpenUrl",
        SHOW_CARD = "Action.ShowCard",
        TOGGLE_VISIBILITY = "Action.ToggleVisibility",
    }
}

vocabulary! {
    /// How large text is.
    pub struct TextSize {
        DEFAULT = "default",
        SMALL = "small",
        MEDIUM = "medium",
        LARGE = "large",
        EXTRA_LARGE = "extraLarge",
    }
}

vocabulary! {
    /// How bold text is.
    pub struct TextWeight {
        DEFAULT = "default",
        LIGHTER = "lighter",
        BOLDER = "bolder",
    }
}

vocabulary! {
    /// The colour of text.
    pub struct Color {
        DEFAULT = "default",
        DARK = "dark",
        LIGHT = "light",
        ACCENT = "accent",
        GOOD = "good",
        WARNING = "warning",
        ATTENTION = "attention",
    }
}

vocabulary! {
    /// The font of text.
    pub struct FontType {
        DEFAULT = "default",
        MONOSPACE = "monospace",
    }
}

vocabulary! {
    /// The distance to the element before.
    pub struct Spacing {
        DEFAULT = "default",
        NONE = "none",
        SMALL = "small",
        MEDIUM = "medium",
        LARGE = "large",
        EXTRA_LARGE = "extraLarge",
        PADDING = "padding",
    }
}

vocabulary! {
    /// Left, centre or right.
    pub struct Alignment {
        LEFT = "left",
        CENTER = "center",
        RIGHT = "right",
    }
}

vocabulary! {
    /// Top, centre or bottom.
    pub struct VerticalAlignment {
        TOP = "top",
        CENTER = "center",
        BOTTOM = "bottom",
    }
}

vocabulary! {
    /// How a container looks.
    pub struct ContainerStyle {
        DEFAULT = "default",
        EMPHASIS = "emphasis",
        GOOD = "good",
        ATTENTION = "attention",
        WARNING = "warning",
        ACCENT = "accent",
    }
}

vocabulary! {
    /// How large a picture is.
    pub struct ImageSize {
        AUTO = "auto",
        STRETCH = "stretch",
        SMALL = "small",
        MEDIUM = "medium",
        LARGE = "large",
    }
}

vocabulary! {
    /// The shape of a picture.
    pub struct ImageStyle {
        DEFAULT = "default",
        PERSON = "person",
    }
}

vocabulary! {
    /// What a text input is for.
    pub struct InputStyle {
        TEXT = "text",
        TEL = "tel",
        URL = "url",
        EMAIL = "email",
        PASSWORD = "password",
    }
}

vocabulary! {
    /// How choices are offered.
    pub struct ChoiceStyle {
        COMPACT = "compact",
        EXPANDED = "expanded",
        FILTERED = "filtered",
    }
}

vocabulary! {
    /// How an action looks.
    pub struct ActionStyle {
        DEFAULT = "default",
        POSITIVE = "positive",
        DESTRUCTIVE = "destructive",
    }
}

vocabulary! {
    /// Where an action is shown: as a button, or in the overflow menu.
    pub struct ActionMode {
        PRIMARY = "primary",
        SECONDARY = "secondary",
    }
}

vocabulary! {
    /// Which inputs an action sends.
    pub struct AssociatedInputs {
        AUTO = "auto",
        NONE = "none",
    }
}
