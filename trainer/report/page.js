// What the page does beyond showing: copy buttons, and the values of the curves under the pointer or the arrow keys.
for (const box of document.querySelectorAll(".code")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "plain copy";
  button.textContent = "Copy";
  button.onclick = async () => {
    const text = box.querySelector("pre");
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
    } catch { // not allowed: select it, so that Ctrl-C copies
      getSelection().selectAllChildren(text);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  };
  box.append(button);
}

for (const svg of document.querySelectorAll("svg[data-curves]")) {
  const plot = JSON.parse(svg.dataset.curves);
  const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
  const box = document.createElement("div");
  let step = plot.last;
  box.className = "pointer";
  box.hidden = true;
  line.setAttribute("y1", plot.top);
  line.setAttribute("y2", plot.bottom);
  line.setAttribute("stroke", "var(--soft)");
  line.setAttribute("visibility", "hidden");
  svg.append(line);
  svg.parentElement.append(box);
  box.setAttribute("role", "status");

  const nearest = (steps) => {
    let low = 0, high = steps.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (steps[middle] < step) low = middle + 1; else high = middle;
    }
    return low > 0 && step - steps[low - 1] < steps[low] - step ? low - 1 : low;
  };
  const show = () => {
    step = Math.min(Math.max(step, 0), plot.last);
    const x = plot.left + (plot.right - plot.left) * step / plot.last;
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
    line.setAttribute("visibility", "visible");
    box.replaceChildren("step " + Math.round(step).toLocaleString("en"));
    for (const curve of plot.curves) {
      const i = nearest(curve.steps), row = document.createElement("div"), dot = document.createElement("i");
      dot.style.background = curve.color;
      row.append(dot, curve.name + " " + curve.values[i]);
      if (Math.abs(curve.steps[i] - step) > plot.last / 100) row.append(" at step " + curve.steps[i].toLocaleString("en"));
      box.append(row);
    }
    box.hidden = false;
    const scale = svg.clientWidth / svg.viewBox.baseVal.width, right = x * scale + 20;
    box.style.top = (plot.top * scale + 14) + "px";
    box.style.left = (right + box.offsetWidth > svg.clientWidth ? x * scale - box.offsetWidth - 4 : right) + "px";
  };
  const hide = () => { box.hidden = true; line.setAttribute("visibility", "hidden"); };
  svg.addEventListener("pointermove", (event) => {
    const area = svg.getBoundingClientRect();
    const x = (event.clientX - area.left) * svg.viewBox.baseVal.width / area.width;
    step = plot.last * (x - plot.left) / (plot.right - plot.left);
    show();
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", (event) => {
    const by = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    if (event.key === "Escape") hide();
    if (!by) return;
    event.preventDefault();
    step += by * plot.last / 100;
    show();
  });
}
