//! Items of tools that run beside the model: screens, shells, patches, tool searches, programs; and what is left of a
//! compacted conversation. All members but the identifying ones may be missing.

use crate::items::body::bodies;
use crate::object::{read_object, slots};
use crate::problem::BadBody;
use crate::raw::RawJson;
use crate::vocabulary::{ItemStatus, Role};

bodies! {
    /// Stands for an item the service already has; its id is [`Item::id`](crate::Item::id).
    ItemReference {
        /// How far the item is, when the service says so.
        status: Option<ItemStatus>,
    }

    /// The model works on a screen.
    ComputerCall {
        /// Ties the output to the call.
        call_id: Option<String> => text,
        /// What to do: a click, keys, a screenshot, …
        action: Option<RawJson>,
        /// Several of these, in newer models.
        actions: Option<RawJson>,
        /// Warnings the application must acknowledge before it goes on.
        pending_safety_checks: Vec<RawJson> => null,
        /// How far it is.
        status: Option<ItemStatus>,
    }

    /// What the screen shows now.
    ComputerCallOutput {
        /// The call it answers.
        call_id: Option<String> => text,
        /// A `computer_screenshot`.
        output: Option<RawJson>,
        /// Warnings that were acknowledged.
        acknowledged_safety_checks: Vec<RawJson> => null,
        /// How far it is.
        status: Option<ItemStatus>,
    }

    /// The agent asks the application to run a tool that takes free text.
    CustomToolCall {
        /// Ties the output to the call.
        call_id: Option<String> => text,
        /// The tool. Chosen by the model: look it up in a closed set.
        name: Option<String> => text,
        /// The text.
        input: Option<String> => text,
        /// The namespace of the tool, when it has one.
        namespace: Option<String> => text,
        /// How far it is.
        status: Option<ItemStatus>,
    }

    /// The application's answer to such a call.
    CustomToolCallOutput {
        /// The call it answers.
        call_id: Option<String> => text,
        /// A string, or a list of parts.
        output: Option<RawJson>,
        /// How far it is.
        status: Option<ItemStatus>,
    }

    /// The agent asks the application to run a command on its own machine.
    LocalShellCall {
        /// Ties the output to the call.
        call_id: Option<String> => text,
        /// The command with its surroundings.
        action: Option<RawJson>,
        /// How far it is.
        status: Option<ItemStatus>,
    }

    /// What the command printed.
    LocalShellCallOutput {
        /// The call it answers.
        call_id: Option<String> => text,
        /// What was printed.
        output: Option<RawJson>,
        /// How far it is.
        status: Option<ItemStatus>,
    }

    /// Commands in a shell.
    ShellCall {
        /// Ties the output to the call.
        call_id: Option<String> => text,
        /// The commands with their limits.
        action: Option<RawJson>,
        /// Where they run.
        environment: Option<RawJson>,
        /// How far it is.
        status: Option<ItemStatus>,
    }

    /// What the commands printed.
    ShellCallOutput {
        /// The call it answers.
        call_id: Option<String> => text,
        /// Standard output, standard error and outcome of each command.
        output: Option<RawJson>,
        /// The most characters that were kept.
        max_output_length: Option<u64> => int,
        /// How far it is.
        status: Option<ItemStatus>,
    }

    /// A change of files.
    ApplyPatchCall {
        /// Ties the output to the call.
        call_id: Option<String> => text,
        /// Create, update or delete a file, with the difference.
        operation: Option<RawJson>,
        /// How far it is.
        status: Option<ItemStatus>,
    }

    /// Whether the files were changed.
    ApplyPatchCallOutput {
        /// The call it answers.
        call_id: Option<String> => text,
        /// What is to be said about it.
        output: Option<String> => text,
        /// How far it is.
        status: Option<ItemStatus>,
    }

    /// The model looks for tools.
    ToolSearchCall {
        /// Ties the output to the call.
        call_id: Option<String> => text,
        /// What it looks for.
        arguments: Option<RawJson>,
        /// Who searches: `server` or `client`.
        execution: Option<String> => text,
        /// How far it is.
        status: Option<ItemStatus>,
    }

    /// The tools that were found.
    ToolSearchOutput {
        /// The call it answers.
        call_id: Option<String> => text,
        /// The tools.
        tools: Vec<RawJson> => null,
        /// Who searched: `server` or `client`.
        execution: Option<String> => text,
        /// How far it is.
        status: Option<ItemStatus>,
    }

    /// Tools that came in the middle of a conversation.
    AdditionalTools {
        /// Who brought them.
        role: Option<Role>,
        /// The tools.
        tools: Vec<RawJson> => null,
    }

    /// A program of the model that calls tools.
    Program {
        /// Ties the output to the program.
        call_id: Option<String> => text,
        /// The program.
        code: Option<String> => text,
        /// How far it is.
        status: Option<ItemStatus>,
    }

    /// What the program returned.
    ProgramOutput {
        /// The program it answers.
        call_id: Option<String> => text,
        /// What it returned.
        result: Option<RawJson>,
        /// How far it is.
        status: Option<ItemStatus>,
    }

    /// What stands for the older part of a conversation. Only the service can read it; send it back as it is.
    Compaction {
        /// Opaque.
        encrypted_content: Option<String> => text,
    }
}
