// Light, dark, or as the system has it.
import { keptCell } from "./cell.js";

export const THEMES = ["auto", "light", "dark"];
const NAME = "headwater.theme";

export const theme = keptCell("theme_name", "auto");
theme.subscribe((value) => {
  localStorage.setItem(NAME, value); // theme.js reads it before anything is drawn
  if (value === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = value;
});
