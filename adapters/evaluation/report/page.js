// Sorts a table by the column whose heading is pressed; built into the page.
for (const table of document.querySelectorAll("table.sortable")) {
  table.querySelectorAll("th").forEach((heading, column) => {
    heading.querySelector("button").onclick = () => {
      const up = heading.getAttribute("aria-sort") === "descending";
      table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = (row) => {
        const given = row.cells[column].dataset.key;
        if (given === undefined) return row.cells[column].textContent;
        return given === "" ? -Infinity : Number(given);
      };
      const body = table.tBodies[0];
      const order = [...body.rows].sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        return (x < y ? -1 : x > y ? 1 : 0) * (up ? 1 : -1);
      });
      order.forEach((row) => body.append(row));
    };
  });
}
