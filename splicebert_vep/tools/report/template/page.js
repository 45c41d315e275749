"use strict";
// The table: headings sort, the form filters. Numbers sort as numbers, and what is missing comes last either way.
// Print: the first rows that the filter leaves, in the order of the screen, and the cards that are chosen.
(() => {
  const table = document.getElementById("table");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const form = document.getElementById("filters");
  const count = document.getElementById("count");
  const order = document.getElementById("order");
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

  const text = (row, at) => row.cells[at].dataset.text ?? row.cells[at].textContent.trim();
  const number = (row, at) => {
    const shown = text(row, at);
    return shown === "" ? NaN : Number(shown);
  };

  function sort(at, descending) {
    const sign = descending ? -1 : 1;
    const isText = heads[at].dataset.kind === "text";
    const keyed = rows.map((row) => [isText ? text(row, at) : number(row, at), row]);
    const missing = (key) => (isText ? key === "" : Number.isNaN(key));
    keyed.sort(([a], [b]) => {
      if (missing(a) || missing(b)) return missing(a) - missing(b);
      return sign * (isText ? collator.compare(a, b) : a - b);
    });
    heads.forEach((head, i) => (i === at ? head.setAttribute("aria-sort", descending ? "descending" : "ascending") : head.removeAttribute("aria-sort")));
    body.append(...keyed.map(([, row]) => row));
    order.textContent = `Sorted by ${heads[at].querySelector("button").textContent}, ${descending ? "descending" : "ascending"}.`;
  }

  heads.forEach((head, at) => {
    head.querySelector("button")?.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      sort(at, now === null ? head.dataset.kind === "high" : now === "ascending");
    });
  });

  const limit = (value) => (value.trim() === "" ? null : Number(value));

  function filter() {
    const wanted = Object.fromEntries(new FormData(form));
    const words = wanted.text.toLowerCase().split(/\s+/).filter(Boolean);
    const at = Number(wanted.score);
    const least = limit(wanted.least);
    const most = limit(wanted.most);
    let shown = 0;
    for (const row of rows) {
      const content = words.length ? row.textContent.toLowerCase() : "";
      const value = least === null && most === null ? 0 : number(row, at);
      const stays =
        (!wanted.gene || row.dataset.gene === wanted.gene) &&
        (!wanted.effect || row.dataset.effect === wanted.effect) &&
        (!wanted.place || row.dataset.place === wanted.place) &&
        (!wanted.type || row.dataset.type === wanted.type) &&
        (!wanted.hit || row.dataset.hit === wanted.hit) &&
        (!wanted.status || row.dataset.status === wanted.status) &&
        words.every((word) => content.includes(word)) &&
        (least === null || value >= least) &&
        (most === null || value <= most);
      row.hidden = !stays;
      shown += stays;
    }
    count.textContent = `${shown} of ${rows.length} rows shown`;
  }

  const printed = document.getElementById("printed");
  const PRINTED = 24;
  addEventListener("beforeprint", () => {
    const shown = [...body.rows].filter((row) => !row.hidden);
    shown.forEach((row, i) => row.classList.toggle("printed", i < PRINTED));
    table.classList.add("chosen");
    printed.textContent = shown.length > PRINTED ? `The first ${PRINTED} of them are printed.` : "";
  });
  addEventListener("afterprint", () => {
    rows.forEach((row) => row.classList.remove("printed"));
    table.classList.remove("chosen");
    printed.textContent = "";
  });

  // A permanent link to a row that the filter hides shows it.
  function reveal() {
    const row = rows.find((one) => one.id && `#${one.id}` === location.hash);
    if (row?.hidden) {
      form.reset();
      setTimeout(() => row.scrollIntoView());
    }
  }
  addEventListener("hashchange", reveal);

  form.hidden = false;
  form.elements.sort.addEventListener("input", (event) => {
    const at = Number(event.target.value);
    sort(at, heads[at].dataset.kind === "high");
  });
  form.addEventListener("input", filter);
  form.addEventListener("reset", () => setTimeout(filter));
  form.addEventListener("submit", (event) => event.preventDefault());
  filter();
})();
