%% SPDX-License-Identifier: Apache-2.0
%% @doc Application specs: the text `module:callable' that names a WSGI or ASGI application.
%% Pure; runs in whichever process calls `hornbeam:start'. Only the form is checked here, the
%% worker finds out whether the module is there.
-module(hornbeam_app_spec).

-export([check/1]).
-export_type([app_spec/0, reason/0]).

-type app_spec() :: binary().
%% UTF-8: `module:callable', `module:object.attribute' or `module:factory()'.

-type reason() :: {bad_app, Value :: term(), What :: binary()}.

%% A Python identifier as the language reference has it, letters of any script included.
-define(IDENTIFIER, "[\\p{L}\\p{Nl}_][\\p{L}\\p{Nl}\\p{Mn}\\p{Mc}\\p{Nd}\\p{Pc}]*").
-define(DOTTED, "\\A" ?IDENTIFIER "(\\." ?IDENTIFIER ")*\\z").

%% @doc The spec as a binary, from a string or a binary.
%% Errors: `{bad_app, Value, What}', where `What' is what is wrong with it, for people.
-spec check(term()) -> {ok, app_spec()} | {error, reason()}.
check(Value) ->
    case hornbeam_options_type:text(Value) of
        {ok, Text} ->
            case fault(binary:split(Text, <<":">>)) of
                none -> {ok, Text};
                What -> {error, {bad_app, Value, list_to_binary(What)}}
            end;
        error ->
            {error, {bad_app, Value, list_to_binary("it is not text")}}
    end.

fault([<<>>]) ->
    "it is empty";
fault([Module]) ->
    fault_of_lone(filename:extension(Module));
fault([<<>>, _]) ->
    "the module before \":\" is missing";
fault([_, <<>>]) ->
    "the callable after \":\" is missing";
fault([Module, Callable]) ->
    case {is_dotted(Module), is_dotted(without_call(Callable))} of
        {true, true} -> none;
        {false, _} -> fault_of_module(Module);
        {true, false} -> fault_of_callable(Callable)
    end.

fault_of_lone(<<".py">>) ->
    "it names a file; name the module, without \".py\", then \":\" and the callable";
fault_of_lone(_) ->
    "the callable is missing; add \":\" and its name, most often \":application\" or \":app\"".

fault_of_module(Module) ->
    case binary:match(Module, <<"/">>) of
        nomatch -> "the module before \":\" is no dotted Python name";
        _ -> "the module before \":\" is a path; put its folder in pythonpath, name the module"
    end.

fault_of_callable(Callable) ->
    case binary:match(Callable, <<"(">>) of
        nomatch -> "the callable after \":\" is no dotted Python name";
        _ -> "a factory is called without arguments: \"module:factory()\""
    end.

without_call(Callable) ->
    Size = byte_size(Callable) - 2,
    case Callable of
        <<Name:Size/binary, "()">> when Size > 0 -> Name;
        _ -> Callable
    end.

is_dotted(Name) ->
    re:run(Name, ?DOTTED, [unicode, {capture, none}]) =:= match.
