// A scene's numbers as SVG, at the width that is there: the same elements as scene.py makes, line by line. An element
// is [name, attributes, children or text].

const [CHARACTER, LINE, NARROW] = [7, 17, 560]; // pixels: about the width of a character, from line to line
const GROUND = new Set(["field", "cells", "picture", "area"]); // the frame stands above these

function elements(data, width, colours) {
  const [height, boxes] = layout(data, width);
  const found = data.axes.flatMap((axes, i) => {
    const draw = pen(axes, boxes[i], colours);
    const all = (below) => axes.marks.filter(({ mark }) => GROUND.has(mark) === below).flatMap((m) => draw[m.mark](m));
    return [...all(true), ...draw.frame(), ...all(false)];
  });
  return [height, found];
}

/** [height, boxes]: where each axes' inner box lies; outer: its left and width with all around it. */
function layout(data, width) {
  const [axes, below, gap] = [data.axes, width < NARROW, 20];
  const total = axes.reduce((sum, part) => sum + part.weight, 0);
  let [left, top] = [0, 0];
  const boxes = axes.map((part) => {
    const across = below ? width : ((width - gap * (axes.length - 1)) * part.weight) / total;
    const room = margins(part, across);
    const box = { left: left + room.left, top: top + room.top, width: across - room.left - room.right,
      height: data.height - room.top - room.bottom, outer: [left, across] };
    if (part.equal) {
      const [x, y] = [part.x, part.y].map(({ low, high }) => Math.abs(high - low));
      const unit = Math.min(box.width / x, box.height / y);
      box.left += (box.width - unit * x) / 2;
      box.top += (box.height - unit * y) / 2;
      [box.width, box.height] = [unit * x, unit * y];
    }
    [left, top] = below ? [0, top + data.height] : [left + across + gap, 0];
    return box;
  });
  return [below ? data.height * axes.length : data.height, boxes];
}

const most = (numbers, otherwise) => (numbers.length ? Math.max(...numbers) : otherwise);
const long = (text) => [...text].length; // an emoji is one
const reach = (ticks) => most(ticks.flatMap(([, words]) => words.split("\n").map(long)), -1) * CHARACTER + 7;
const depth = (ticks) => most(ticks.map(([, words]) => words.split("\n").length), -0.4) * LINE + 7;

function margins({ x, y, title, marks }, width) {
  return {
    left: 8 + reach(y.ticks) + (y.label ? LINE + 4 : 0),
    bottom: 8 + depth(x.ticks) + (x.label ? LINE + 2 : 0),
    top: 10 + LINE * (wrapped(title, width).length + legend(marks, width).length),
    right: 14,
  };
}

/** The lines of a heading, in bold. */
function wrapped(words, width) {
  const [lines, limit] = [[], Math.max(8, Math.floor(width / (CHARACTER * 1.1)))];
  for (const word of words.split(/\s+/).filter(Boolean)) {
    if (lines.length && long(lines.at(-1)) + 1 + long(word) <= limit) lines[lines.length - 1] += ` ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** Rows of [mark, pixels from the left] that the legend takes. */
function legend(marks, width) {
  const rows = [];
  let at = width;
  for (const mark of marks.filter(({ label }) => label)) {
    const needs = 36 + CHARACTER * long(mark.label);
    if (at + needs > width) {
      rows.push([]);
      at = 0;
    }
    rows.at(-1).push([mark, at]);
    at += needs;
  }
  return rows;
}

const SHAPES = {
  s: [[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]],
  D: [[0, -1.2], [1.2, 0], [0, 1.2], [-1.2, 0]],
  "^": [[0, -1.15], [1.1, 0.85], [-1.1, 0.85]],
  "*": Array.from({ length: 10 }, (_, n) => {
    const [r, turn] = [n % 2 ? 0.6 : 1.5, Math.PI * (n / 5 - 0.5)];
    return [r * Math.cos(turn), r * Math.sin(turn)];
  }),
};
const pair = (x, y) => `${x.toFixed(2)} ${y.toFixed(2)}`; // two pixels as an attribute has them
const line = (x1, y1, x2, y2, look) => ["line", { x1, y1, x2, y2, ...look }, []];
const rect = (x, y, x1, y1, look) => ["rect", { x, y, width: x1 - x, height: y1 - y, ...look }, []];
const polygon = (corners, look) => ["polygon", { points: corners.map(([x, y]) => pair(x, y)).join(" "), ...look }, []];
const stroke = ({ width, dash }, colour) =>
  ({ stroke: colour, "stroke-width": width, ...(dash && { "stroke-dasharray": "6 4" }) });
const sorted = (a, b) => (a < b ? [a, b] : [b, a]);

/** How far along an axis a value lies, from 0 to 1. */
function share({ low, high, log }, value) {
  const f = log ? Math.log : Number;
  return (f(value) - f(low)) / (f(high) - f(low));
}

/** [red, green, blue] of a value on the mark's colour scale, and its opacity where the scale has one. */
function shade({ low, high, stops }, value) {
  const at = (value === null ? 0 : Math.min(Math.max((value - low) / (high - low), 0), 1)) * (stops.length - 1);
  const i = Math.min(Math.floor(at), stops.length - 2);
  return [1, 3, 5, 7].filter((k) => k < stops[i].length).map((k) => {
    const [a, b] = [stops[i], stops[i + 1]].map((stop) => parseInt(stop.slice(k, k + 2), 16));
    return Math.floor(a + (b - a) * (at - i) + 0.5);
  });
}

/** Black or white, whichever is easier to read on a colour; by its luminance, as WCAG 2 has it. */
function legible(...rgb) {
  const [r, g, b] = rgb.map((v) => (v <= 10 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000000" : "#ffffff";
}

/** What draws the marks of one axes as lists of elements. */
function pen(axes, place, colours) {
  const x = (value) => place.left + share(axes.x, value) * place.width;
  const y = (value) => place.top + (1 - share(axes.y, value)) * place.height;
  const named = (name) => colours[name] ?? name;
  const colour = (mark, i = 0) => named(typeof mark.colour === "string" ? mark.colour : mark.colour[i]);
  const words = (at, down, text, ink = "ink", anchor = "middle", more = {}) =>
    ["text", { x: at, y: down + 4.5, "text-anchor": anchor, fill: named(ink), ...more }, text];
  const inside = (child) => {
    const { left, top, width, height } = place;
    return [["svg", { x: left, y: top, width, height, viewBox: `${pair(left, top)} ${pair(width, height)}` }, [child]]];
  };
  const between = ({ x0, x1, y0, y1 }, look) => {
    const [across, down] = [sorted(x(x0[0]), x(x1[0])), sorted(y(y0[0]), y(y1[0]))];
    return rect(across[0], down[0], across[1], down[1], look);
  };

  function point({ shape, size, hollow }, at, down, ink) {
    if (shape === "x") {
      const [a, b, c, d] = [[-1, -1], [1, 1], [-1, 1], [1, -1]].map(([i, j]) => pair(at + i * size, down + j * size));
      return ["path", { d: `M${a} L${b} M${c} L${d}`, stroke: ink, "stroke-width": 2 }, []];
    }
    const look = hollow ? { fill: colours.paper, stroke: ink, "stroke-width": 1.5 }
      : { fill: ink, stroke: colours.paper, "stroke-width": 0.75 };
    if (shape === "o") return ["circle", { cx: at, cy: down, r: size, ...look }, []];
    return polygon(SHAPES[shape].map(([a, b]) => [at + size * a, down + size * b]), look);
  }

  function heading() {
    const [left, across] = place.outer;
    const [lines, rows] = [wrapped(axes.title, across), legend(axes.marks, across)];
    let down = place.top + 2.5 - LINE * (lines.length + rows.length);
    const found = [];
    for (const text of lines) {
      found.push(words(left + across / 2, down, text, "ink", "middle", { "font-weight": 600 }));
      down += LINE;
    }
    for (const row of rows) {
      for (const [mark, at] of row)
        found.push(key(mark, left + at + 13, down), words(left + at + 26, down, mark.label, "soft", "start"));
      down += LINE;
    }
    return found;
  }

  /** What stands for a mark in the legend. */
  function key(mark, at, down) {
    const ink = colour(mark);
    if (mark.mark === "points") return point({ ...mark, size: Math.min(mark.size, 6) }, at, down, ink);
    if (mark.mark === "area")
      return rect(at - 9, down - 5, at + 9, down + 5, { fill: ink, "fill-opacity": mark.opacity });
    if (mark.mark === "bars") {
      const corners = [at - 9, down - 5, at + 9, down + 5];
      return ["g", {}, [rect(...corners, { fill: ink }), ...(mark.hatched.some(Boolean) ? hatch(...corners) : [])]];
    }
    return line(at - 9, down, at + 9, down, stroke(mark, ink));
  }

  /** Strokes across a bar, from lower left to upper right, 8 pixels apart. */
  function hatch(x0, y0, x1, y1) {
    const [width, height, found] = [x1 - x0, y1 - y0, []];
    for (let n = 1; n < Math.ceil((width + height) / 8); n++) {
      const [right, down] = [Math.min(8 * n, width), Math.min(8 * n, height)];
      const look = { stroke: colours.paper, "stroke-width": 1.5 };
      found.push(line(x0 + 8 * n - down, y0 + down, x0 + right, y0 + 8 * n - right, look));
    }
    return found;
  }

  return {
    frame() {
      const [rule, found] = [{ stroke: colours.faint, "stroke-width": 1 }, []];
      const { left, top } = place;
      const [right, low] = [left + place.width, top + place.height];
      if (axes.x.ticks.length || axes.x.label) found.push(line(left, low, right, low, rule));
      if (axes.y.ticks.length || axes.y.label) found.push(line(left, top, left, low, rule));
      for (const [value, text] of axes.x.ticks) {
        const at = x(value);
        found.push(line(at, low, at, low + 4, rule));
        text.split("\n").forEach((part, n) => found.push(words(at, low + 12.5 + LINE * n, part, "soft")));
      }
      for (const [value, text] of axes.y.ticks) {
        const [lines, at] = [text.split("\n"), y(value)];
        found.push(line(left - 4, at, left, at, rule));
        lines.forEach((part, n) =>
          found.push(words(left - 7, at + LINE * (n - (lines.length - 1) / 2), part, "soft", "end")));
      }
      if (axes.x.label) found.push(words((left + right) / 2, low + depth(axes.x.ticks) + 11.5, axes.x.label));
      if (axes.y.label) {
        const [at, down] = [left - 14 - reach(axes.y.ticks), (top + low) / 2];
        found.push(words(at, down, axes.y.label, "ink", "middle", { transform: `rotate(-90 ${pair(at, down)})` }));
      }
      return [...found, ...heading()];
    },
    points: (mark) => mark.x.map((at, i) => point(mark, x(at), y(mark.y[i]), colour(mark, i))),
    line(mark) {
      const path = [];
      let move = "M";
      mark.x.forEach((at, i) => {
        const gap = at === null || mark.y[i] === null;
        if (!gap) path.push(`${move}${pair(x(at), y(mark.y[i]))}`);
        move = gap ? "M" : "L";
      });
      const look = { fill: "none", "stroke-linejoin": "round", ...stroke(mark, colour(mark)) };
      return inside(["path", { d: path.join(" "), ...look }, []]);
    },
    area(mark) {
      const [there, back] = [mark.low, mark.high].map((side) => mark.x.map((at, i) => pair(x(at), y(side[i]))));
      const look = { fill: colour(mark), "fill-opacity": mark.opacity };
      return inside(["path", { d: `M${[...there, ...back.reverse()].join(" L")} Z`, ...look }, []]);
    },
    segments: (mark) => mark.x0.flatMap((_, i) => {
      const [x0, y0, x1, y1] = [x(mark.x0[i]), y(mark.y0[i]), x(mark.x1[i]), y(mark.y1[i])];
      const [look, length] = [{ stroke: colour(mark, i), "stroke-width": mark.width }, Math.hypot(x1 - x0, y1 - y0)];
      if (!mark.arrow) return [line(x0, y0, x1, y1, look)];
      if (length < 1) return []; // or it would point nowhere
      const head = Math.min(6 + 2 * mark.width, length);
      const [dx, dy] = [((x1 - x0) / length) * head, ((y1 - y0) / length) * head];
      const sides = [1, -1].map((side) => [x1 - dx - side * 0.45 * dy, y1 - dy + side * 0.45 * dx]);
      return [line(x0, y0, x1 - dx, y1 - dy, look), polygon([[x1, y1], ...sides], { fill: colour(mark, i) })];
    }),
    bars: (mark) => mark.at.flatMap((at, i) => {
      const to = mark.to[i] ?? mark.start;
      const [across, end] = mark.across ? [y, x] : [x, y];
      const sides = sorted(across(at - mark.thick / 2), across(at + mark.thick / 2));
      const ends = sorted(end(mark.start), end(to));
      const [[x0, x1], [y0, y1]] = mark.across ? [ends, sides] : [sides, ends];
      const found = [rect(x0, y0, x1, y1, { fill: colour(mark, i) })];
      if (mark.hatched[i]) found.push(...hatch(x0, y0, x1, y1));
      if (mark.texts.length) {
        const beyond = to >= mark.start;
        const text = mark.across ? [end(to) + (beyond ? 5 : -5), y(at)] : [x(at), end(to) + (beyond ? -9 : 9)];
        found.push(words(...text, mark.texts[i], "ink", mark.across ? (beyond ? "start" : "end") : "middle"));
      }
      return found;
    }),
    text: (mark) => mark.x.map((at, i) => {
      const place = [x(at) + mark.dx, y(mark.y[i]) + mark.dy];
      return words(...place, mark.text[i], colour(mark, i), mark.anchor, mark.bold ? { "font-weight": 600 } : {});
    }),
    circle(mark) {
      const scale = place.width / Math.abs(axes.x.high - axes.x.low);
      const about = { cx: x(mark.x[0]), cy: y(mark.y[0]), r: mark.radius * scale, fill: "none" };
      return [["circle", { ...about, ...stroke(mark, colour(mark)) }, []]];
    },
    rectangle(mark) {
      const look = { fill: "none", stroke: colour(mark), "stroke-width": mark.width };
      return [between(mark, mark.filled ? { fill: colour(mark) } : look)];
    },
    cells: (mark) => mark.values.flatMap((row, i) => row.flatMap((value, j) => {
      const [red, green, blue] = shade(mark, value);
      const corners = { x0: [j - 0.5], x1: [j + 0.5], y0: [i - 0.5], y1: [i + 0.5] };
      const cell = between(corners, { fill: `rgb(${red}, ${green}, ${blue})` });
      if (!mark.texts.length) return [cell];
      return [cell, words(x(j), y(i), mark.texts[i][j], legible(red, green, blue))];
    })),
    field(mark) {
      const [height, width] = [mark.values.length, mark.values[0].length];
      const canvas = Object.assign(document.createElement("canvas"), { width, height });
      const context = canvas.getContext("2d");
      const pixels = context.createImageData(width, height);
      mark.values.forEach((row, i) => row.forEach((value, j) => // row 0 is at the bottom
        pixels.data.set([...shade(mark, value), 255].slice(0, 4), 4 * ((height - 1 - i) * width + j))));
      context.putImageData(pixels, 0, 0);
      return this.picture({ ...mark, href: canvas.toDataURL() });
    },
    picture(mark) {
      const [across, down] = [sorted(...mark.x.map(x)), sorted(...mark.y.map(y))];
      const about = { x: across[0], y: down[0], width: across[1] - across[0], height: down[1] - down[0] };
      const look = { preserveAspectRatio: "none", style: `image-rendering: ${mark.smooth ? "auto" : "pixelated"}` };
      return inside(["image", { ...about, href: mark.href, ...look }, []]);
    },
  };
}

/** An element of the page: what it says is set as text. */
function built([name, attributes, inside]) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (typeof inside === "string") node.textContent = inside;
  else node.append(...inside.map(built));
  return node;
}
