//! One small line as a picture: SVG, the x axis in powers of ten, the y axis from nought.

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 180.0;
const LEFT: f64 = 46.0;
const BOTTOM: f64 = 34.0;
const TOP: f64 = 24.0;
const RIGHT: f64 = 18.0;

/// Draws points, whose x are above nought and rising.
#[must_use]
pub(crate) fn line(title: &str, unit: &str, points: &[(f64, f64)]) -> String {
    let (first, last) = (
        points.first().map_or(1.0, |p| p.0.log10()),
        points.last().map_or(1.0, |p| p.0.log10()),
    );
    let most = points.iter().map(|p| p.1).fold(1.0, f64::max) * 1.25;
    let x = |value: f64| {
        LEFT + (value.log10() - first) / (last - first).max(1e-9) * (WIDTH - LEFT - RIGHT)
    };
    let y = |value: f64| HEIGHT - BOTTOM - value / most * (HEIGHT - BOTTOM - TOP);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"10\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"14\" font-size=\"11\">{title}</text>\n"
    );
    for part in 0..=4 {
        let value = most * f64::from(part) / 4.0;
        text.push_str(&format!(
            "<path d=\"M{LEFT} {at:.1}H{end}\" stroke=\"#ddd\"/><text x=\"{label}\" y=\"{text_y:.1}\" text-anchor=\"end\">{value:.1}</text>\n",
            at = y(value),
            end = WIDTH - RIGHT,
            label = LEFT - 4.0,
            text_y = y(value) + 3.0,
        ));
    }
    let mut path = String::new();
    for (index, (at, value)) in points.iter().enumerate() {
        let (px, py) = (x(*at), y(*value));
        path.push_str(&format!(
            "{}{px:.1} {py:.1}",
            if index == 0 { "M" } else { "L" }
        ));
        text.push_str(&format!(
            "<circle cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"2.5\" fill=\"#07c\"/>\
             <text x=\"{px:.1}\" y=\"{}\" text-anchor=\"middle\">{at}</text>\n",
            HEIGHT - BOTTOM + 13.0
        ));
    }
    text.push_str(&format!(
        "<path d=\"{path}\" fill=\"none\" stroke=\"#07c\" stroke-width=\"1.5\"/>\n\
         <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{unit}</text>\n</svg>\n",
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 6.0
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_has_each_point_at_its_place() {
        let picture = line("t", "u", &[(1.0, 4.0), (10.0, 4.0), (100.0, 8.0)]);
        assert_eq!(picture.matches("<circle").count(), 3);
        // Nought is at 146, the most (10) at 24; the first x at 46, the last at 342.
        assert!(
            picture.contains("d=\"M46.0 97.2L194.0 97.2L342.0 48.4\""),
            "{picture}"
        );
    }
}
