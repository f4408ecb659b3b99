//! `--enable-feature`: what is off in PromQL unless it is asked for, under Prometheus' names.

use promql::parse::ParseOptions;

/// What is on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Features {
    /// What the parser accepts beyond the stable language.
    pub parser: ParseOptions,
    /// `promql-delayed-name-removal`
    pub delayed_name_removal: bool,
    /// `use-start-timestamps`: of blocks that have them; StoreAPI carries none.
    pub use_start_timestamps: bool,
}

impl Features {
    /// Reads names, several of which may be in one text with commas between; gives those that change nothing, too. As
    /// with upstream none of them is an error (cmd/prometheus/main.go, `setFeatureListOptions`).
    #[must_use]
    pub fn of(texts: &[String]) -> (Self, Vec<String>) {
        let mut features = Self::default();
        let names = texts.iter().flat_map(|text| text.split(',')).map(str::trim);
        let without_effect = names
            .filter(|name| !name.is_empty() && !features.enable(name))
            .map(str::to_owned)
            .collect();
        (features, without_effect)
    }

    fn enable(&mut self, name: &str) -> bool {
        let switch = match name {
            "promql-experimental-functions" => &mut self.parser.experimental_functions,
            "promql-extended-range-selectors" => &mut self.parser.extended_range_selectors,
            "promql-binop-fill-modifiers" => &mut self.parser.binop_fill_modifiers,
            "promql-delayed-name-removal" => &mut self.delayed_name_removal,
            "use-start-timestamps" => &mut self.use_start_timestamps,
            _ => return false,
        };
        *switch = true;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str]) -> (Features, Vec<String>) {
        Features::of(&texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn features_have_the_names_of_prometheus() {
        assert_eq!(of(&[]), (Features::default(), Vec::new()));
        let parser = ParseOptions { binop_fill_modifiers: true, ..ParseOptions::default() };
        let fill = Features { parser, ..Features::default() };
        assert_eq!(of(&["promql-binop-fill-modifiers"]).0, fill);
        let all = of(&[
            "promql-experimental-functions, promql-extended-range-selectors",
            "promql-binop-fill-modifiers,promql-delayed-name-removal,use-start-timestamps",
        ]);
        let wanted = Features {
            parser: ParseOptions::ALL,
            delayed_name_removal: true,
            use_start_timestamps: true,
        };
        assert_eq!(all, (wanted, Vec::new()));
    }

    #[test]
    fn what_changes_nothing_is_told() {
        let (features, told) = of(&["promql-at-modifier", "promql-everything,"]);
        assert_eq!(features, Features::default());
        assert_eq!(told, ["promql-at-modifier", "promql-everything"]);
    }
}
