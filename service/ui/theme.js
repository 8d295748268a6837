// Runs before the page is drawn, so that a chosen theme does not flash. "auto" leaves it to the system.
(() => {
  const chosen = localStorage.getItem("headwater.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
