//! Every documented item, content part, annotation, tool and event has a type: what the reference lists, word for word.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use foundry_client::tool::{Tool, ToolKind};
use foundry_client::{Annotation, AnnotationKind, Content, ContentKind, Item, ItemKind};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const ITEMS: &[&str] = &[
    "message",
    "output_message",
    "function_call",
    "mcp_approval_request",
    "oauth_consent_request",
    "mcp_call",
    "mcp_list_tools",
    "mcp_approval_response",
    "reasoning",
    "file_search_call",
    "web_search_call",
    "code_interpreter_call",
    "image_generation_call",
    "workflow_action",
    "structured_outputs",
    "memory_search_call",
    "a2a_preview_call",
    "a2a_preview_call_output",
    "openapi_call",
    "openapi_call_output",
    "azure_function_call",
    "azure_function_call_output",
    "bing_grounding_call",
    "bing_grounding_call_output",
    "bing_custom_search_preview_call",
    "bing_custom_search_preview_call_output",
    "sharepoint_grounding_preview_call",
    "sharepoint_grounding_preview_call_output",
    "azure_ai_search_call",
    "azure_ai_search_call_output",
    "fabric_dataagent_preview_call",
    "fabric_dataagent_preview_call_output",
    "browser_automation_preview_call",
    "browser_automation_preview_call_output",
    "memory_command_preview_call",
    "memory_command_preview_call_output",
    "remote_function_call",
    "computer_call",
    "computer_call_output",
    "custom_tool_call",
    "custom_tool_call_output",
    "local_shell_call",
    "local_shell_call_output",
    "shell_call",
    "shell_call_output",
    "apply_patch_call",
    "apply_patch_call_output",
    "tool_search_call",
    "tool_search_output",
    "additional_tools",
    "program",
    "program_output",
    "compaction",
    "function_call_output",
    "item_reference",
];

const CONTENT: &[&str] = &[
    "output_text",
    "refusal",
    "input_text",
    "text",
    "reasoning_text",
    "summary_text",
    "input_image",
    "input_file",
    "computer_screenshot",
];

const ANNOTATIONS: &[&str] = &["url_citation", "file_citation", "container_file_citation", "file_path"];

const TOOLS: &[&str] = &[
    "function",
    "mcp",
    "web_search",
    "web_search_preview",
    "file_search",
    "code_interpreter",
    "image_generation",
    "bing_grounding",
    "bing_custom_search_preview",
    "azure_ai_search",
    "sharepoint_grounding_preview",
    "fabric_dataagent_preview",
    "openapi",
    "azure_function",
    "a2a",
    "a2a_preview",
    "memory_search_preview",
    "browser_automation",
    "browser_automation_preview",
    "work_iq_preview",
    "fabric_iq_preview",
    "web_iq_preview",
    "toolbox_search_preview",
    "capture_structured_outputs",
    "github_copilot_toolset_preview",
    "microsoft_copilot_toolset_preview",
    "computer",
    "computer_use_preview",
    "shell",
    "local_shell",
    "apply_patch",
    "custom",
    "namespace",
    "tool_search",
    "programmatic_tool_calling",
];

/// A body that has what any of them must have.
fn read<T: DeserializeOwned>(kind: &str) -> (T, Value) {
    let json = json!({
        "type": kind, "id": "x_1", "role": "assistant", "content": [], "call_id": "c", "name": "n", "arguments": "{}",
        "server_label": "s", "consent_link": "https://x", "approval_request_id": "a", "approve": true, "action_id": "a",
        "output": "o", "text": "t", "refusal": "r", "annotations": [], "url": "https://x", "start_index": 0,
        "end_index": 1, "file_id": "f", "index": 0, "container_id": "c", "parameters": {}, "tools": [],
        "vector_store_ids": ["v"], "memory_store_name": "m", "scope": "s", "bing_grounding": {},
        "bing_custom_search_preview": {}, "azure_ai_search": {}, "sharepoint_grounding_preview": {},
        "fabric_dataagent_preview": {}, "openapi": {}, "azure_function": {}, "brand_new": [1, {"x": null}]
    });
    (serde_json::from_value(json.clone()).unwrap(), json)
}

#[test]
fn every_listed_item_is_typed() {
    for kind in ITEMS {
        let (item, json) = read::<Item>(kind);
        assert!(!matches!(item, Item::Unknown(_)), "{kind}");
        assert_eq!((item.kind().as_str(), item.problem(), item.id()), (*kind, None, Some("x_1")));
        assert_eq!(serde_json::to_value(&item).unwrap(), json, "{kind} is written back as it came");
    }
    assert_eq!(ItemKind::KNOWN.len(), ITEMS.len());
}

#[test]
fn every_listed_part_is_typed() {
    for kind in CONTENT {
        let (part, json) = read::<Content>(kind);
        assert!(!matches!(part, Content::Unknown(_)), "{kind}");
        assert_eq!((part.kind().as_str(), part.problem()), (*kind, None));
        assert_eq!(serde_json::to_value(&part).unwrap(), json);
    }
    assert_eq!(ContentKind::KNOWN.len(), CONTENT.len());
}

#[test]
fn every_listed_annotation_is_typed_and_a_citation() {
    for kind in ANNOTATIONS {
        let (annotation, json) = read::<Annotation>(kind);
        assert!(annotation.citation().is_some(), "{kind}");
        assert_eq!((annotation.kind().as_str(), annotation.problem()), (*kind, None));
        assert_eq!(serde_json::to_value(&annotation).unwrap(), json);
    }
    assert_eq!(AnnotationKind::KNOWN.len(), ANNOTATIONS.len());
}

#[test]
fn every_listed_tool_is_typed() {
    for kind in TOOLS {
        let (tool, json) = read::<Tool>(kind);
        assert!(!matches!(tool, Tool::Unknown(_)), "{kind}");
        assert_eq!(tool.kind().as_str(), *kind);
        assert_eq!(serde_json::to_value(&tool).unwrap(), json, "{kind} is written back with what is new in it");
    }
    assert_eq!(ToolKind::KNOWN.len(), TOOLS.len());
}

#[test]
fn what_nobody_lists_is_kept_raw() {
    assert!(matches!(read::<Item>("hologram").0, Item::Unknown(_)));
    assert!(matches!(read::<Content>("hologram").0, Content::Unknown(_)));
    assert!(matches!(read::<Annotation>("hologram").0, Annotation::Unknown(_)));
    assert!(matches!(read::<Tool>("hologram").0, Tool::Unknown(_)));
}
