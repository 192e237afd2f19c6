// How an overlay looks before it shows anything: theme, colours and size, as custom properties and data attributes.
// Only values that parameters.js let through come here.

const root = document.documentElement;
const UNITS_ACROSS = { landscape: 120, vertical: 50 };
const CANVAS_RATIO_OFF_MAX = 0.03;
const CANVAS_PX_MIN = 450;
const EDGE = 0.97;

export function dress(widget, params, { at = "bottom-left", upright = "top" }) {
  root.dataset.widget = widget;
  root.dataset.theme = params.theme;
  root.dataset.layout = params.layout;
  root.dataset.at = params.at !== "auto" ? params.at : params.layout === "vertical" ? upright : at;
  root.dataset.plate = ["plate", "none"].includes(params.bg) ? params.bg : "own";
  root.dir = params.dir;
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches ? "reduced" : "on";
  root.dataset.anim = params.anim === "auto" ? calm : params.anim;
  const own = { "--accent": params.accent, "--ink": params.fg, "--plate": root.dataset.plate === "own" ? params.bg : null };
  for (const [name, value] of Object.entries(own)) if (value) root.style.setProperty(name, value);
  if (params.fg) root.dataset.ink = "own";
  if (params.radius !== null) root.style.setProperty("--radius", `${params.radius / 16}rem`);
}

// A source as large as the canvas is a stage: the widget stands in its corner, at the size it was drawn for. Any other
// source is filled by the widget, so that a host who drags its corner gets what the corner says.
export class Fit {
  constructor(card, params) {
    Object.assign(this, { card, params, unitPx: 0 });
    addEventListener("resize", () => this.measure());
    new ResizeObserver(() => this.measure()).observe(card);
    this.measure();
  }

  onStage() {
    if (this.params.size !== "auto") return this.params.size === "stage";
    const ratio = innerWidth / innerHeight;
    const canvas = this.params.layout === "vertical" ? 9 / 16 : 16 / 9;
    return Math.abs(ratio / canvas - 1) <= CANVAS_RATIO_OFF_MAX && Math.min(innerWidth, innerHeight) >= CANVAS_PX_MIN;
  }

  measure() {
    const stage = this.onStage();
    const { layout, scale } = this.params;
    root.dataset.size = stage ? "stage" : "fit";
    const natural = (innerWidth / UNITS_ACROSS[layout]) * scale;
    if (stage || !this.unitPx) return this.set(natural);
    const { offsetWidth: width, offsetHeight: height } = this.card;
    if (!width || !height) return;
    const room = Math.min((innerWidth * EDGE) / width, (innerHeight * EDGE) / height);
    const wanted = this.unitPx * room * Math.min(scale, 1);
    // A hair's breadth is let be, or a rolling digit would make the whole card breathe.
    if (Math.abs(wanted / this.unitPx - 1) > 0.01) this.set(wanted);
  }

  set(unitPx) {
    if (unitPx === this.unitPx) return;
    this.unitPx = unitPx;
    root.style.setProperty("--unit", `${unitPx.toFixed(3)}px`);
  }
}
