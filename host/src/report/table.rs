//! Tables for the terminal: a line under the header and nothing else.

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, TableStyle};
use pocketflow::names::shown;

const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// A table whose cells are short and plain, whatever files and plugins call things.
pub struct Table(comfy_table::Table);

/// An empty table; `right`: which columns are numbers.
pub fn table(header: &[&str], right: impl Fn(usize) -> bool) -> Table {
    let mut table = comfy_table::Table::new();
    // No wrapping: what is cut at the width of one terminal cannot be found again in a log.
    table.load_style(STYLE).set_content_arrangement(ContentArrangement::Disabled).set_header(header);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 3));
        if right(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    Table(table)
}

impl Table {
    pub fn add_row<C: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = C>) {
        self.0.add_row(cells.into_iter().map(|cell| shown(cell.as_ref()).into_owned()));
    }

    /// The lines, without what fills them up at their ends.
    pub fn trim_fmt(&self) -> String {
        self.0.trim_fmt()
    }
}

/// Those columns are numbers.
pub fn right_aligned(columns: &[usize]) -> impl Fn(usize) -> bool {
    move |index| columns.contains(&index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_short_and_plain() {
        let mut table = table(&["layer", "bits"], right_aligned(&[1]));
        table.add_row(["fc\u{1b}[2J\n", "4"]);
        table.add_row([&"x".repeat(1 << 20), "4"]);
        let text = table.trim_fmt();
        assert!(text.contains("fc\\u{1b}[2J\\n"), "{text}");
        assert!(text.lines().count() == 4 && text.len() < 2_000, "{}", text.len());
    }
}
