// What a reader would trip over, as the browser drew it: a list of sentences, none where all is well.
(() => {
  const found = [];
  const visible = (box) => box.width > 0 && box.height > 0;
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) {
    const wide = Array.from(document.body.querySelectorAll("*")).filter((one) => {
      return one.getBoundingClientRect().right > root.clientWidth + 1 && !one.closest(".scroll");
    });
    const names = wide.slice(0, 3).map((one) => `${one.tagName}.${one.getAttribute("class")}`);
    found.push(`the page is ${root.scrollWidth} px wide on ${root.clientWidth} px: ${names.join(", ")}`);
  }
  for (const chart of document.querySelectorAll("svg.chart")) {
    const name = chart.querySelector("title").textContent;
    const frame = chart.getBoundingClientRect();
    if (!visible(frame)) continue;
    const texts = Array.from(chart.querySelectorAll("text")).map((text) => ({ text, box: text.getBoundingClientRect() }));
    for (const { text, box } of texts) {
      const scale = frame.width / chart.viewBox.baseVal.width;
      const size = parseFloat(getComputedStyle(text).fontSize) * scale;
      if (size < 9) found.push(`${name}: ${JSON.stringify(text.textContent)} is ${size.toFixed(1)} px high`);
      const out = box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
      if (out) found.push(`${name}: ${JSON.stringify(text.textContent)} leaves the drawing`);
    }
    texts.forEach((a, i) => texts.slice(i + 1).forEach((b) => {
      const apart = a.box.right <= b.box.left || b.box.right <= a.box.left || a.box.bottom <= b.box.top || b.box.bottom <= a.box.top;
      if (!apart) found.push(`${name}: ${JSON.stringify(a.text.textContent)} lies on ${JSON.stringify(b.text.textContent)}`);
    }));
    const marks = chart.querySelectorAll(".mk");
    if (marks.length === 0) found.push(`${name}: an empty chart`);
  }
  return found;
})()
