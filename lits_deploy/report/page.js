"use strict";
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const table = $("table.series"), bodies = all("tbody[data-rank]", table);
  const find = $("#find"), status = $("#status"), order = $("#order"), everything = $("#all");
  document.documentElement.classList.add("script");

  // Rows open and close; without this script all of them are open.
  const toggles = all("button.toggle", table);
  const detailOf = (toggle) => document.getElementById(toggle.getAttribute("aria-controls"));
  const open = (toggle, wanted) => {
    toggle.setAttribute("aria-expanded", String(wanted));
    detailOf(toggle).hidden = !wanted;
  };
  const isOpen = (toggle) => toggle.getAttribute("aria-expanded") === "true";
  const nameEverything = () => {
    everything.textContent = visible().some(isOpen) ? "Close all" : "Open all";
  };
  const visible = () => toggles.filter((toggle) => !toggle.closest("tbody").hidden);
  toggles.forEach((toggle, index) => {
    open(toggle, index === 0);
    toggle.addEventListener("click", () => { open(toggle, !isOpen(toggle)); nameEverything(); });
  });
  everything.addEventListener("click", () => {
    const wanted = !visible().some(isOpen);
    visible().forEach((toggle) => open(toggle, wanted));
    nameEverything();
  });

  // Filter by text and by status.
  const texts = new Map(bodies.map((body) => [body, body.textContent.toLowerCase()]));
  const filter = () => {
    const wanted = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const body of bodies) {
      const fits = (!status.value || body.dataset.tags.split(" ").includes(status.value))
        && wanted.every((word) => texts.get(body).includes(word));
      body.hidden = !fits;
      shown += fits;
    }
    $("#shown").textContent = shown === bodies.length ? "" : `${shown} of ${bodies.length} series`;
    $("#none").hidden = shown > 0 || bodies.length === 0;
    nameEverything();
  };
  find.addEventListener("input", filter);
  status.addEventListener("change", filter);
  $(".controls").addEventListener("submit", (event) => event.preventDefault());

  // Sort; what has no value comes last either way.
  const collator = new Intl.Collator(undefined, { numeric: true });
  const valueOf = (body, key) => key === "name" ? $(".name", body).textContent : body.dataset[key];
  const sort = (key, down) => {
    const sign = down ? -1 : 1;
    bodies.sort((a, b) => {
      const [x, y] = [valueOf(a, key), valueOf(b, key)];
      if ((x === "") !== (y === "")) return x === "" ? 1 : -1;
      const between = key === "name" ? collator.compare(x, y) : x - y;
      return sign * between || a.dataset.rank - b.dataset.rank;
    });
    table.append(...bodies);
    for (const heading of all("th[scope=col]", table)) heading.removeAttribute("aria-sort");
    const button = $(`button[data-key="${key}"]`, table);
    if (button) button.closest("th").setAttribute("aria-sort", down ? "descending" : "ascending");
    order.value = key;
  };
  for (const button of all("thead button", table)) {
    button.addEventListener("click", () => {
      const key = button.dataset.key, now = button.closest("th").getAttribute("aria-sort");
      sort(key, now ? now === "ascending" : key !== "name");
    });
  }
  order.addEventListener("change", () => sort(order.value, order.value !== "name"));

  // Contours on and off; without any there is no box for it.
  const lines = $("#lines"), showLines = () => document.documentElement.classList.toggle("bare", !lines?.checked);
  lines?.addEventListener("change", showLines);

  // A strip tells the slice under the pointer.
  const probability = (value) => (value / 100).toFixed(2);
  const heights = (path, columns) => {
    const found = new Array(columns).fill(null);
    for (const [, x, steps] of path.getAttribute("d").matchAll(/M(\d+) 100((?:V\d+h\d+)*)V100Z/g)) {
      let at = Number(x);
      for (const [, y, run] of steps.matchAll(/V(\d+)h(\d+)/g)) {
        found.fill(100 - y, at, at += Number(run));
      }
    }
    return found;
  };
  for (const strip of all("svg.strip.large")) {
    const readout = $(".readout", strip.parentElement), width = strip.viewBox.baseVal.width;
    let read = null;
    strip.addEventListener("pointermove", (event) => {
      const source = document.getElementById($("use", strip).getAttribute("href").slice(1));
      read ??= ["lesion", "liver"].map((kind) => heights($(`path.${kind}`, source), width));
      const box = strip.getBoundingClientRect();
      const pointed = Math.floor((event.clientX - box.left) / box.width * width);
      const column = Math.min(Number(strip.dataset.columns) - 1, Math.max(0, pointed));
      const each = Number(strip.dataset.each), first = column * each + 1;
      const last = Math.min(first + each - 1, Number(strip.dataset.slices));
      const [lesion, both] = [read[0][column], read[1][column]];
      const where = first === last ? `slice ${first}` : `slices ${first} to ${last}`;
      readout.textContent = lesion === null ? `${where}: no answer`
        : `${where}: lesion ${probability(lesion)}, liver ${probability(both - lesion)}`;
    });
    strip.addEventListener("pointerleave", () => { readout.textContent = ""; });
  }

  // Enlarge a picture, and step through those of its series.
  const dialog = $("#zoomed"), stage = $(".stage", dialog);
  let set = [], at = 0;
  const show = () => {
    stage.replaceChildren(...[...set[at].childNodes].map((node) => node.cloneNode(true)));
    $(".caption", dialog).textContent = $("img", set[at]).alt;
    $("#before").disabled = at === 0;
    $("#next").disabled = at === set.length - 1;
  };
  const step = (by) => { at = Math.min(set.length - 1, Math.max(0, at + by)); show(); };
  for (const button of all("button.zoom")) {
    button.addEventListener("click", () => {
      set = all("button.zoom", button.closest(".pictures"));
      at = set.indexOf(button);
      show();
      dialog.showModal();
    });
  }
  $("#before").addEventListener("click", () => step(-1));
  $("#next").addEventListener("click", () => step(1));
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

  // On paper the explanation is open.
  const how = $("details.how");
  let was = how.open;
  addEventListener("beforeprint", () => { was = how.open; how.open = true; });
  addEventListener("afterprint", () => { how.open = was; });

  // The browser may have kept what was typed before a reload.
  filter();
  showLines();
})();
