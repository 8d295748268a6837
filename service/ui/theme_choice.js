// Light, dark, or as the system has it. `theme.js` reads the same word before anything is drawn.
import { keptCell } from "./cell.js";

export const THEMES = ["auto", "light", "dark"];

export const theme = keptCell("theme", "auto");
theme.subscribe((value) => {
  if (value === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = value;
});
