use super::action::Action;
use super::element::{Element, element};
use super::words::{Alignment, ContainerStyle, ElementKind, VerticalAlignment};
use crate::model::object::wire_object;
use crate::model::raw::RawJson;
use crate::model::scalar::Scalar;
use crate::model::tagged::setters;

element! {
    /// A table: [`Table`](https://adaptivecards.microsoft.com/?topic=Table).
    ///
    /// ```
    /// use botframework_activity::card::Table;
    ///
    /// let table = Table::new([1, 2]).row(["Name", "Status"]).row(["Report", "open"]);
    /// assert_eq!(table.rows.len(), 2);
    /// ```
    pub struct Table = TABLE {
        /// The columns.
        pub columns: Vec<TableColumn> = "columns";
        /// The rows.
        pub rows: Vec<TableRow> = "rows";
        /// Whether the first row is the heading.
        pub first_row_as_headers: Option<bool> = "firstRowAsHeaders";
        /// Whether lines are drawn.
        pub show_grid_lines: Option<bool> = "showGridLines";
        /// How the lines look.
        pub grid_style: Option<ContainerStyle> = "gridStyle";
        /// Where the content of cells stands.
        pub horizontal_cell_content_alignment: Option<Alignment> = "horizontalCellContentAlignment";
        /// Where the content of cells stands.
        pub vertical_cell_content_alignment: Option<VerticalAlignment> = "verticalCellContentAlignment";
    }
}

impl Table {
    /// A table with columns of these widths: shares such as `1`, or pixels as in `80px`. The first row is the heading.
    #[inline]
    pub fn new<W: Into<Scalar>>(widths: impl IntoIterator<Item = W>) -> Self {
        let column = |width: W| TableColumn { width: Some(width.into()), ..TableColumn::default() };
        Self { columns: widths.into_iter().map(column).collect(), first_row_as_headers: Some(true), ..Self::default() }
    }

    /// Adds a row of cells: texts or elements.
    #[must_use]
    #[inline]
    pub fn row<E: Into<Element>>(mut self, cells: impl IntoIterator<Item = E>) -> Self {
        let cell = |element: E| TableCell { items: vec![element.into()], ..TableCell::default() };
        self.rows.push(TableRow { cells: cells.into_iter().map(cell).collect(), ..TableRow::default() });
        self
    }
}

setters! { Table {
    /// Makes the first row the heading.
    first_row_as_headers(bool) => first_row_as_headers;
    /// Draws lines.
    grid_lines(bool) => show_grid_lines;
    /// Sets how the lines look.
    grid_style(ContainerStyle) => grid_style;
} }

wire_object! {
    /// A column of a table.
    pub struct TableColumn {
        /// A share such as `1`, or pixels as in `80px`.
        pub width: Option<Scalar> = "width";
        /// Where the content of its cells stands.
        pub horizontal_cell_content_alignment: Option<Alignment> = "horizontalCellContentAlignment";
        /// Where the content of its cells stands.
        pub vertical_cell_content_alignment: Option<VerticalAlignment> = "verticalCellContentAlignment";
    }
}

wire_object! {
    /// A row of a table.
    pub struct TableRow {
        /// Always `TableRow`.
        pub kind: ElementKind = "type" [ElementKind::TABLE_ROW];
        /// The cells.
        pub cells: Vec<TableCell> = "cells";
        /// How it looks.
        pub style: Option<ContainerStyle> = "style";
        /// Where the content of its cells stands.
        pub horizontal_cell_content_alignment: Option<Alignment> = "horizontalCellContentAlignment";
        /// Where the content of its cells stands.
        pub vertical_cell_content_alignment: Option<VerticalAlignment> = "verticalCellContentAlignment";
    }
}

wire_object! {
    /// A cell of a table.
    pub struct TableCell {
        /// Always `TableCell`.
        pub kind: ElementKind = "type" [ElementKind::TABLE_CELL];
        /// The elements.
        pub items: Vec<Element> = "items";
        /// How it looks.
        pub style: Option<ContainerStyle> = "style";
        /// Where the content stands.
        pub vertical_content_alignment: Option<VerticalAlignment> = "verticalContentAlignment";
        /// Whether it reaches to the edges.
        pub bleed: Option<bool> = "bleed";
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
