"use strict";
(() => {
  const root = document.documentElement;
  const store = { get() { try { return localStorage.getItem("shuiqiao-language"); } catch { return null; } },
                  set(value) { try { localStorage.setItem("shuiqiao-language", value); } catch { /* a file may have no store */ } } };
  const show = (language) => {
    root.classList.remove("both", "show-zh", "show-en");
    root.classList.add(language === "zh" ? "show-zh" : "show-en");
    root.lang = language === "zh" ? "zh-CN" : "en";
    for (const button of document.querySelectorAll("[data-language]")) {
      button.setAttribute("aria-pressed", String(button.dataset.language === language));
    }
  };
  const preferred = () => (navigator.languages?.[0] ?? navigator.language ?? "zh").toLowerCase().startsWith("zh") ? "zh" : "en";

  const number = (cell) => Number(cell.dataset.sort);
  const compare = (column, isNumber) => (one, two) => {
    const [a, b] = [one.cells[column], two.cells[column]];
    return isNumber ? number(a) - number(b) : a.dataset.sort.localeCompare(b.dataset.sort);
  };
  const sortable = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = head.querySelector("button");
      if (!button) return;
      button.disabled = false;
      button.addEventListener("click", () => {
        const descends = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", descends ? "descending" : "ascending");
        const rows = [...table.tBodies[0].rows].sort(compare(column, head.dataset.number !== undefined));
        if (descends) rows.reverse();
        table.tBodies[0].append(...rows);
      });
    });
  };
  const filterable = (bar, table) => {
    const wish = (field) => field.type === "radio" ? (field.checked ? field.value : "") : field.value.trim().toLowerCase();
    const fields = [...bar.querySelectorAll("[data-filter]")];
    const shown = [...bar.querySelectorAll("[data-shown] .fig:first-of-type")];
    const apply = () => {
      let count = 0;
      for (const row of table.tBodies[0].rows) {
        row.hidden = !fields.every((field) => (row.dataset[field.dataset.filter] ?? "").toLowerCase().includes(wish(field)));
        count += Number(!row.hidden);
      }
      for (const place of shown) place.textContent = count.toLocaleString("en-US");
    };
    fields.forEach((field) => field.addEventListener("input", apply));
    bar.hidden = false;
  };

  show(store.get() ?? preferred());
  document.addEventListener("DOMContentLoaded", () => {
    const language = store.get() ?? preferred();
    for (const part of document.querySelectorAll("[data-needs-script]")) part.hidden = false;
    for (const button of document.querySelectorAll("[data-language]")) {
      button.addEventListener("click", () => { store.set(button.dataset.language); show(button.dataset.language); });
    }
    show(language);
    const table = document.getElementById("decisions");
    if (table) { sortable(table); filterable(document.getElementById("decision-filter"), table); }
  });
})();
