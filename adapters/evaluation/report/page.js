// Sorts a table, each group of rows alone, by the column whose heading is pressed; opens what a link leads to, or
// all for a printer. Built into the page, which can be read without it.
for (const table of document.querySelectorAll("table.sortable")) {
  table.querySelectorAll("thead th").forEach((heading, column) => {
    heading.querySelector("button").onclick = () => {
      const up = heading.getAttribute("aria-sort") === "descending";
      table.querySelectorAll("thead th").forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = (row) => {
        const given = row.cells[column].dataset.key;
        if (given === undefined) return row.cells[column].textContent;
        return given === "" ? -Infinity : Number(given);
      };
      for (const body of table.tBodies) {
        const order = [...body.rows].filter((row) => !row.matches(".group")).sort((a, b) => {
          const [x, y] = [key(a), key(b)];
          return (x < y ? -1 : x > y ? 1 : 0) * (up ? 1 : -1);
        });
        order.forEach((row) => body.append(row));
      }
    };
  });
}
const open = () => {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  if (target) target.scrollIntoView();
};
addEventListener("hashchange", open);
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => (part.open = true)));
document.querySelectorAll('a[href^="#"]').forEach((link) => link.addEventListener("click", () => setTimeout(open)));
open();
