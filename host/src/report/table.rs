//! Tables for the terminal: a line under the header and nothing else.

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// An empty table; `right`: which columns are numbers.
pub fn table(header: &[&str], right: impl Fn(usize) -> bool) -> Table {
    let mut table = Table::new();
    // No wrapping: what is cut at the width of one terminal cannot be found again in a log.
    table.load_style(STYLE).set_content_arrangement(ContentArrangement::Disabled).set_header(header);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 3));
        if right(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Those columns are numbers.
pub fn right_aligned(columns: &[usize]) -> impl Fn(usize) -> bool {
    move |index| columns.contains(&index)
}
