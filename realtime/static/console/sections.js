// The console's sections: on a phone one at a time, chosen at the bottom where the thumb is; on a wide screen all of
// them side by side, and choosing one goes to it. A number on a section says that something waits there.

import { el, find, say } from "../dom.js";
import { t } from "./words.js";

export class Sections {
  // parts: { name: [nodes] }, in the order of the keys 1, 2, 3 …
  constructor(parts) {
    this.names = Object.keys(parts);
    this.nodes = Object.fromEntries(
      this.names.map((name) => [name, el("div", { class: "section", id: `section-${name}`, tabindex: "-1", "aria-label": t(name), role: "region" }, ...parts[name])]),
    );
    this.marks = {};
    this.tabs = this.names.map((name) => {
      this.marks[name] = el("span", { class: "mark num", hidden: true });
      return el("button", { type: "button", "data-section": name, onclick: () => this.show(name) }, el("span", {}, t(name)), this.marks[name]);
    });
    this.nav = el("nav", { class: "sections", "aria-label": t("sections") }, ...this.tabs);
    this.paint(this.names[0]);
  }

  paint(name) {
    this.shown = name;
    for (const one of this.names) this.nodes[one].classList.toggle("shown", one === name);
    for (const tab of this.tabs) {
      if (tab.dataset.section === name) tab.setAttribute("aria-current", "true");
      else tab.removeAttribute("aria-current");
    }
  }

  show(name) {
    this.paint(name);
    const node = this.nodes[name];
    for (const fold of node.querySelectorAll(":scope > details.fold")) if (fold.id === "money") fold.open = true;
    node.focus({ preventScroll: true });
    if (matchMedia("(min-width: 64rem)").matches) node.scrollIntoView({ block: "start" });
    else find("main").scrollIntoView({ block: "start" });
    return true;
  }

  mark(name, n) {
    this.marks[name].hidden = !n;
    say(this.marks[name], n ? (n > 99 ? "99+" : String(n)) : "");
  }

  keys() {
    return Object.fromEntries(this.names.map((name, index) => [String(index + 1), () => this.show(name)]));
  }
}
