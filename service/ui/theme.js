// Runs before the page is drawn, so that a chosen theme does not flash. "auto" leaves it to the system.
(() => {
  try {
    const chosen = JSON.parse(localStorage.getItem("headwater.theme"));
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // a browser that keeps nothing for this page, or a word of an older version
  }
})();
