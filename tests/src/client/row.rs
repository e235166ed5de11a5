//! What came of a client, one line of tabs per way.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::directory;

/// One client, one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub client: String,
    /// As it says it.
    pub version: String,
    /// Whether the proxy variables were set.
    pub variables: bool,
    /// The way that the record names.
    pub via: String,
    /// What came from the origin.
    pub said: String,
    /// What it says to a name that is not listed.
    pub refused_name: String,
    /// Median microseconds of that.
    pub refused_name_us: u64,
    /// What it says to a listed name on a port that is not.
    pub refused_port: String,
    /// Median microseconds of that.
    pub refused_port_us: u64,
    /// Whether the times were taken inside of the program.
    pub inside: bool,
}

/// Writes the rows of one client.
pub(super) fn write(client: &str, rows: &[Row]) -> Result<()> {
    let directory = directory()?.join("rows");
    fs::create_dir_all(&directory).context("make the directory of rows")?;
    let text: String = rows.iter().map(Row::line).collect();
    let path = directory.join(format!("{}.tsv", client.replace(['/', ' '], "-")));
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}

/// All rows that were written, by name.
pub(super) fn read() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for entry in fs::read_dir(directory()?.join("rows")).context("list the rows")? {
        let path = entry.context("list the rows")?.path();
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        for line in text.lines() {
            rows.push(Row::parse(line).with_context(|| format!("read {}", path.display()))?);
        }
    }
    rows.sort_by_key(|row| (row.client.to_lowercase(), row.variables));
    ensure!(
        !rows.is_empty(),
        "there are no rows: run the suite `clients` first"
    );
    Ok(rows)
}

impl Row {
    fn line(&self) -> String {
        let plain = |text: &str| text.replace(['\t', '\n'], " ");
        let fields = [
            plain(&self.client),
            plain(&self.version),
            self.variables.to_string(),
            self.via.clone(),
            plain(&self.said),
            plain(&self.refused_name),
            self.refused_name_us.to_string(),
            plain(&self.refused_port),
            self.refused_port_us.to_string(),
            self.inside.to_string(),
        ];
        fields.join("\t") + "\n"
    }

    fn parse(line: &str) -> Result<Self> {
        let fields: Vec<&str> = line.split('\t').collect();
        let [
            client,
            version,
            variables,
            via,
            said,
            name,
            name_us,
            port,
            port_us,
            inside,
        ] = fields.as_slice()
        else {
            anyhow::bail!("{} fields instead of 10", fields.len());
        };
        Ok(Self {
            client: (*client).to_owned(),
            version: (*version).to_owned(),
            variables: variables.parse()?,
            via: (*via).to_owned(),
            said: (*said).to_owned(),
            refused_name: (*name).to_owned(),
            refused_name_us: name_us.parse()?,
            refused_port: (*port).to_owned(),
            refused_port_us: port_us.parse()?,
            inside: inside.parse()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_reads_back_as_it_was_written() {
        let row = Row {
            client: "c".to_owned(),
            version: "v 1".to_owned(),
            variables: true,
            via: "connect".to_owned(),
            said: "hello".to_owned(),
            refused_name: "no".to_owned(),
            refused_name_us: 7,
            refused_port: "no, either".to_owned(),
            refused_port_us: 8,
            inside: false,
        };
        assert_eq!(Row::parse(row.line().trim_end()).unwrap(), row);
        assert!(Row::parse("c\tv").is_err());
    }
}
