//! Templates against transformers' renderings (`scripts/fixtures/templates.py`), and against those
//! who write hostile ones.

use super::*;
use serde::Deserialize;

/// 2026-11-30 12:00 UTC, the time of the fixtures.
const NOW: Now = Now::utc(1_796_040_000);

fn render_all(template: &str, messages: &[Message]) -> Result<String> {
    let tokens = [("bos_token", "<s>"), ("eos_token", "</s>")];
    let tokens = tokens.map(|(name, text)| (name.to_string(), text.to_string()));
    let path = Path::new("folder/chat_template.jinja");
    ChatTemplate::new(template, BTreeMap::from(tokens), path).render(messages, NOW)
}

fn render(template: &str) -> Result<String> {
    render_all(template, &[Message::user("hello")])
}

#[test]
fn conversations_read_as_transformers_renders_them() {
    #[derive(Deserialize)]
    struct Row {
        name: String,
        template: String,
        messages: Vec<Message>,
        text: Option<String>,
        error: Option<String>,
    }
    let text = include_str!("../../../tests/fixtures/templates/renderings.json");
    let rows: Vec<Row> = serde_json::from_str(text).unwrap();
    assert_eq!(rows.len(), 60);
    let mut wrong = Vec::new();
    for row in rows {
        match (render_all(&row.template, &row.messages), row.text, row.error) {
            (Ok(found), Some(text), _) if found == text => {}
            (Err(found), _, Some(error)) if found.to_string().contains(&error) => {}
            (found, text, error) => {
                wrong.push(format!("{}: {found:?} in place of {text:?} {error:?}", row.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_template_that_fails_or_never_ends_says_so_and_is_named() {
    let nested = |open: &str, close: &str| {
        format!("{{{{ {}1{} }}}}", open.repeat(60_000), close.repeat(60_000))
    };
    for (template, word) in [
        ("{{ raise_exception('roles must alternate') }}".to_string(), "roles must alternate"),
        ("{% for".into(), "unexpected end"),
        (
            "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}"
                .into(),
            "fuel",
        ),
        // One that holds itself, at once, through another, and through a value that is made when it
        // is looked at.
        ("{% set n = namespace() %}{% set n.a = n %}{{ n }}".into(), "found a namespace"),
        (
            "{% set n = namespace() %}{% set m = namespace(b=n) %}{% set n.a = [m] %}{{ n|tojson }}".into(),
            "found a namespace",
        ),
        ("{% set n = namespace() %}{% set (n.a, x) = (n, 1) %}{{ n }}".into(), "found a namespace"),
        ("{% set n = namespace() %}{% set n.a = 1 if false else n -%} {{ n }}".into(), "found a namespace"),
        (
            "{% set n = namespace(a=1) %}{% for i in range(9999) %}{% set n.a = [n.a] %}{% endfor %}{{ n.a }}".into(),
            "levels",
        ),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}".into(), "recursion"),
        (nested("-", ""), "words and signs"),
        (nested("not ", ""), "words and signs"),
        (nested("1+", ""), "words and signs"),
        (nested("(", ")"), "words and signs"),
        (nested("[", "]"), "words and signs"),
        (nested("1 if 1 else ", ""), "words and signs"),
        (format!("{{{{ x{} }}}}", ".a".repeat(100_000)), "words and signs"),
        (format!("{{{{ x{} }}}}", "|list".repeat(100_000)), "words and signs"),
        (format!("{{% if x %}}{}{{% endif %}}", "{% elif x %}".repeat(60_000)), "tags"),
        ("{{ messages|tojson(indent=1000000000) }}".into(), "indent"),
        ("{{ 'x' * 1000000000 }}".into(), "fuel"),
        ("{% set n = namespace(a='x') %}{% for i in range(99) %}{% set n.a = n.a ~ n.a %}{% endfor %}".into(), "fuel"),
        ("{{ 'x' * 5000000 }}".into(), "at most 4194304 bytes"),
        ("x".repeat(1 << 21), "at most 1048576 bytes"),
    ] {
        let error = render(&template).unwrap_err().to_string();
        let named = error.starts_with("folder/chat_template.jinja: the chat template failed: ");
        assert!(named && error.contains(word) && error.len() < 500, "{template:.90}: {error}");
    }
}

#[test]
fn what_is_as_deep_as_the_limits_allow_stays_within_the_stack() {
    for template in [
        format!("{{{{ {}1 }}}}", "-".repeat(4000)),
        format!("{{{{ {}1 }}}}", "not ".repeat(4000)),
        format!("{{{{ {}1 }}}}", "1+".repeat(2000)),
        format!("{{{{ {}1 }}}}", "1 if x else ".repeat(1000)),
        format!("{{{{ x{} }}}}", "|list".repeat(2000)),
        format!("{{% if x %}}{}{{% endif %}}", "{% elif x %}".repeat(9000)),
        format!("{{% set x = 1 %}}{}{{{{ x }}}}", "{% set x = [x, x] %}".repeat(20)),
        format!("{{% set x = 1 %}}{}{{{{ x|length }}}}", "{% set x = [x] %}".repeat(9000)),
        format!(
            "{{% set x = 1 %}}{}{{{{ x|string|length }}}}",
            "{% set x = {'a': x} %}".repeat(3000)
        ),
        format!("{{% set x = 1 %}}{}{{{{ x == [x] }}}}", "{% set x = [x] %}".repeat(9000)),
    ] {
        // Whether such a template is rendered does not matter; the program goes on.
        let _ = render(&template);
    }
}

#[test]
fn an_ordinary_namespace_in_a_raw_block_or_a_text_is_left_alone() {
    let text = "{% raw %}{{ \"{% endraw %}{% set n = namespace() %}{% set n.a = 'n.b = {% set n.c = n %}' %}{{ n.a }}";
    assert_eq!(render(text).unwrap(), "{{ \"n.b = {% set n.c = n %}");
    // What looks at the namespace when it is read is copied, and holds what the namespace held
    // then.
    let text = "{% set n = namespace(a=1) %}{% set n.a = n|items %}{{ n.a }}{% set n.a = [n]|map('list') %}{{ n.a }}";
    assert_eq!(render(text).unwrap(), "[['a', 1]][['a']]");
}

#[test]
fn a_date_is_that_of_the_time_that_was_given() {
    let text = render("{{ strftime_now('%d %b %Y, %H:%M, %A') }}").unwrap();
    assert_eq!(text, "30 Nov 2026, 12:00, Monday");
    assert!(render("{{ strftime_now('%!') }}").is_err());
    // source: by definition; the system's zone is not known here, its distance from UTC is at most
    // 14 hours
    let day: i64 = Now::local(1_796_040_000).strftime("%s").unwrap().parse().unwrap();
    assert_eq!(day, 1_796_040_000);
    assert_eq!(Now::of_record("2026-11-30T12:00:00Z"), Some(Now::local(1_796_040_000)));
    assert_eq!(Now::of_record("yesterday"), None);
}

#[test]
fn the_default_of_several_templates_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(ChatTemplate::load(dir.path()).unwrap(), None);
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    let rendered = || ChatTemplate::load(dir.path()).unwrap().unwrap().render(&[], NOW);
    let config = |first: &str| {
        format!(
            r#"{{"bos_token":{{"content":"<b>"}},"chat_template":[{{"name":"tool_use","template":"t"}},{{"name":"{first}","template":"d{{{{ bos_token }}}}{{{{ eos_token }}}}"}}]}}"#
        )
    };
    write("tokenizer_config.json", &config("default"));
    write("special_tokens_map.json", r#"{"bos_token":"<other>","eos_token":"<e>"}"#);
    assert_eq!(rendered().unwrap(), "d<b><e>");
    write("tokenizer_config.json", &config("rag"));
    let error = rendered().unwrap_err().to_string();
    assert!(
        error.contains("tokenizer_config.json") && error.contains("\"tool_use\", \"rag\""),
        "{error}"
    );
    write("chat_template.jinja", "own {{ bos_token }}");
    assert_eq!(rendered().unwrap(), "own <b>");
}
