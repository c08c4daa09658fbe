use super::action::Action;
use super::element::element;
use super::words::{ChoiceStyle, InputStyle};
use crate::model::object::wire_object;
use crate::model::raw::RawJson;
use crate::model::scalar::{Number, Scalar};
use crate::model::tagged::setters;

/// Declares an input: an element that is sent under its id.
macro_rules! input {
    ($(#[$meta:meta])* pub struct $name:ident = $kind:ident { $($own:tt)* }) => {
        element! {
            $(#[$meta])*
            pub struct $name = $kind {
                $($own)*
                /// The label.
                pub label: Option<String> = "label";
                /// Whether something must be entered.
                pub is_required: Option<bool> = "isRequired";
                /// What is shown when the input is missing or wrong.
                pub error_message: Option<String> = "errorMessage";
            }
        }

        impl $name {
            /// An input whose value is sent under this id.
            #[inline]
            pub fn new(id: impl Into<String>) -> Self {
                Self { id: Some(id.into()), ..Self::default() }
            }
        }

        setters! { $name {
            /// Sets the label.
            label(String) => label;
            /// Demands that something is entered.
            required(bool) => is_required;
            /// Sets what is shown when the input is missing or wrong.
            error_message(String) => error_message;
        } }
    };
}

input! {
    /// A text input: [`Input.Text`](https://adaptivecards.microsoft.com/?topic=Input.Text).
    pub struct InputText = INPUT_TEXT {
        /// What is entered at first.
        pub value: Option<String> = "value";
        /// What is shown while it is empty.
        pub placeholder: Option<String> = "placeholder";
        /// Whether it has several lines.
        pub is_multiline: Option<bool> = "isMultiline";
        /// How many characters at most.
        pub max_length: Option<i64> = "maxLength";
        /// A regular expression that the text must match.
        pub regex: Option<String> = "regex";
        /// What the text is for.
        pub style: Option<InputStyle> = "style";
        /// A button beside it.
        pub inline_action: Option<Action> = "inlineAction";
    }
}

setters! { InputText {
    /// Sets what is entered at first.
    value(String) => value;
    /// Sets what is shown while it is empty.
    placeholder(String) => placeholder;
    /// Gives it several lines.
    multiline(bool) => is_multiline;
    /// Sets how many characters at most.
    max_length(i64) => max_length;
    /// Sets a regular expression that the text must match.
    regex(String) => regex;
    /// Sets what the text is for.
    style(InputStyle) => style;
    /// Sets a button beside it.
    inline_action(Action) => inline_action;
} }

input! {
    /// A number input: [`Input.Number`](https://adaptivecards.microsoft.com/?topic=Input.Number).
    pub struct InputNumber = INPUT_NUMBER {
        /// What is entered at first.
        pub value: Option<Scalar> = "value";
        /// What is shown while it is empty.
        pub placeholder: Option<String> = "placeholder";
        /// The least value.
        pub min: Option<Number> = "min";
        /// The greatest value.
        pub max: Option<Number> = "max";
    }
}

setters! { InputNumber {
    /// Sets what is entered at first.
    value(Scalar) => value;
    /// Sets what is shown while it is empty.
    placeholder(String) => placeholder;
    /// Sets the least value.
    min(Number) => min;
    /// Sets the greatest value.
    max(Number) => max;
} }

input! {
    /// A date input, `YYYY-MM-DD`: [`Input.Date`](https://adaptivecards.microsoft.com/?topic=Input.Date).
    pub struct InputDate = INPUT_DATE {
        /// What is entered at first.
        pub value: Option<String> = "value";
        /// What is shown while it is empty.
        pub placeholder: Option<String> = "placeholder";
        /// The first possible date.
        pub min: Option<String> = "min";
        /// The last possible date.
        pub max: Option<String> = "max";
    }
}

setters! { InputDate {
    /// Sets what is entered at first.
    value(String) => value;
    /// Sets what is shown while it is empty.
    placeholder(String) => placeholder;
    /// Sets the first possible date.
    min(String) => min;
    /// Sets the last possible date.
    max(String) => max;
} }

input! {
    /// A time input, `HH:MM`: [`Input.Time`](https://adaptivecards.microsoft.com/?topic=Input.Time).
    pub struct InputTime = INPUT_TIME {
        /// What is entered at first.
        pub value: Option<String> = "value";
        /// What is shown while it is empty.
        pub placeholder: Option<String> = "placeholder";
        /// The first possible time.
        pub min: Option<String> = "min";
        /// The last possible time.
        pub max: Option<String> = "max";
    }
}

setters! { InputTime {
    /// Sets what is entered at first.
    value(String) => value;
    /// Sets what is shown while it is empty.
    placeholder(String) => placeholder;
    /// Sets the first possible time.
    min(String) => min;
    /// Sets the last possible time.
    max(String) => max;
} }

input! {
    /// A yes-or-no input: [`Input.Toggle`](https://adaptivecards.microsoft.com/?topic=Input.Toggle).
    pub struct InputToggle = INPUT_TOGGLE {
        /// What is asked.
        pub title: Option<String> = "title";
        /// What is entered at first.
        pub value: Option<Scalar> = "value";
        /// What is sent for yes; `true` when absent.
        pub value_on: Option<Scalar> = "valueOn";
        /// What is sent for no; `false` when absent.
        pub value_off: Option<Scalar> = "valueOff";
        /// Whether the question may take several lines.
        pub wrap: Option<bool> = "wrap";
    }
}

setters! { InputToggle {
    /// Sets what is asked. Teams shows nothing without it.
    title(String) => title;
    /// Sets what is entered at first.
    value(Scalar) => value;
    /// Sets what is sent for yes.
    value_on(Scalar) => value_on;
    /// Sets what is sent for no.
    value_off(Scalar) => value_off;
    /// Lets the question take several lines.
    wrap(bool) => wrap;
} }

input! {
    /// A choice: [`Input.ChoiceSet`](https://adaptivecards.microsoft.com/?topic=Input.ChoiceSet).
    ///
    /// ```
    /// use botframework_activity::card::InputChoiceSet;
    ///
    /// let colour = InputChoiceSet::new("colour").choices([("Red", "r"), ("Green", "g")]).value("g").required(true);
    /// assert_eq!(colour.choices.len(), 2);
    /// ```
    pub struct InputChoiceSet = INPUT_CHOICE_SET {
        /// The choices.
        pub choices: Vec<Choice> = "choices";
        /// What is chosen at first; several values with commas between.
        pub value: Option<String> = "value";
        /// What is shown while nothing is chosen.
        pub placeholder: Option<String> = "placeholder";
        /// How they are offered.
        pub style: Option<ChoiceStyle> = "style";
        /// Whether several can be chosen.
        pub is_multi_select: Option<bool> = "isMultiSelect";
        /// Whether choices may take several lines.
        pub wrap: Option<bool> = "wrap";
        /// Where more choices are searched: the query of an `application/search` invoke.
        pub choices_data: Option<RawJson> = "choices.data";
    }
}

impl InputChoiceSet {
    /// Adds choices: titles and values.
    #[must_use]
    #[inline]
    pub fn choices<C: Into<Choice>>(mut self, choices: impl IntoIterator<Item = C>) -> Self {
        self.choices.extend(choices.into_iter().map(Into::into));
        self
    }

    /// Searches for more choices while the user writes: the bot gets `application/search` invokes with this dataset.
    #[must_use]
    #[inline]
    pub fn search(mut self, dataset: &str) -> Self {
        self.style = Some(ChoiceStyle::FILTERED);
        self.choices_data = Some(serde_json::json!({ "type": "Data.Query", "dataset": dataset }).into());
        self
    }
}

setters! { InputChoiceSet {
    /// Sets what is chosen at first.
    value(String) => value;
    /// Sets what is shown while nothing is chosen.
    placeholder(String) => placeholder;
    /// Sets how they are offered.
    style(ChoiceStyle) => style;
    /// Lets the user choose several.
    multi_select(bool) => is_multi_select;
    /// Lets choices take several lines.
    wrap(bool) => wrap;
} }

wire_object! {
    /// One choice.
    pub struct Choice {
        /// What is shown.
        pub title: Option<String> = "title";
        /// What is sent.
        pub value: Option<String> = "value";
    }
}

impl<T: Into<String>, V: Into<String>> From<(T, V)> for Choice {
    #[inline]
    fn from((title, value): (T, V)) -> Self {
        Self { title: Some(title.into()), value: Some(value.into()), ..Self::default() }
    }
}
