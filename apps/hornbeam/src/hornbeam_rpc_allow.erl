%% SPDX-License-Identifier: Apache-2.0
%% @doc The option `rpc_allow': which functions, on which nodes, Python may call by `rpc_call' and
%% its relatives, and which nodes it may connect.
%%
%% `all', `none', or a list of rules: `Module', `{Module, Function}' or `{Module, Function, Node}',
%% each an atom or text in which `*' stands for any characters. What a rule leaves out is any.
%% Patterns are compared with text, so that a name that is refused does not become an atom. Runs in
%% whoever asks.
-module(hornbeam_rpc_allow).

-export([check/1, set/1, is_call_allowed/3, is_node_allowed/1, refusal/1, refusal/3]).
-export_type([allowed/0]).

-type allowed() :: all | [{Module :: binary(), Function :: binary(), Node :: binary()}].
-type name() :: atom() | binary().

-define(KEY, {?MODULE, allowed}).
-define(ANY, [<<>>, <<>>]).

%% @doc The option in its normal form.
-spec check(term()) -> {ok, allowed()} | error.
check(all) -> {ok, all};
check(none) -> {ok, []};
check([C | _]) when is_integer(C) -> error;
check(Rules) when is_list(Rules) -> rules(Rules, []);
check(_) -> error.

rules([Rule | Rules], Done) ->
    Texts = [text_of(Name) || Name <- rule(Rule)],
    case lists:member(error, Texts) of
        true -> error;
        false -> rules(Rules, [list_to_tuple(Texts) | Done])
    end;
rules([], Done) -> {ok, lists:reverse(Done)};
rules(_Improper, _) -> error.

rule({Module, Function, Node}) -> [Module, Function, Node];
rule({Module, Function}) -> [Module, Function, <<"*">>];
rule(Module) -> [Module, <<"*">>, <<"*">>].

text_of(Name) when is_atom(Name) -> text_of(atom_to_binary(Name));
text_of(Name) ->
    case hornbeam_options_type:text(Name) of
        {ok, <<_, _/binary>> = Text} -> Text;
        _ -> error
    end.

%% @doc What is allowed from now on, on this node, whichever application asks.
-spec set(allowed()) -> ok.
set(all) ->
    persistent_term:put(?KEY, all);
set(Rules) ->
    persistent_term:put(?KEY, [{parts(M), parts(F), parts(N)} || {M, F, N} <- Rules]).

%% The texts between the stars; a pattern without a star has one.
parts(Text) -> binary:split(Text, <<"*">>, [global]).

-spec is_call_allowed(Node :: name(), Module :: name(), Function :: name()) -> boolean().
is_call_allowed(Node, Module, Function) ->
    case persistent_term:get(?KEY) of
        all ->
            true;
        Rules ->
            [N, M, F] = [text(Name) || Name <- [Node, Module, Function]],
            lists:any(
                fun({Ms, Fs, Ns}) -> fits(M, Ms) andalso fits(F, Fs) andalso fits(N, Ns) end, Rules
            )
    end.

%% @doc Whether any call to that node is allowed: then it may be connected.
-spec is_node_allowed(Node :: name()) -> boolean().
is_node_allowed(Node) ->
    case persistent_term:get(?KEY) of
        all -> true;
        Rules -> lists:any(fun({_, _, Pattern}) -> fits(text(Node), Pattern) end, Rules)
    end.

%% @doc What Python is told of a call that is not allowed.
-spec refusal(Node :: term(), Module :: term(), Function :: term()) -> binary().
refusal(Node, Module, Function) ->
    sentence("~ts:~ts on ~ts may not be called", [shown(N) || N <- [Module, Function, Node]]).

%% @doc The same of a node.
-spec refusal(Node :: term()) -> binary().
refusal(Node) ->
    sentence("the node ~ts may not be connected", [shown(Node)]).

sentence(Format, Arguments) ->
    unicode:characters_to_binary([
        io_lib:format(Format, Arguments), ": no rule of the option rpc_allow of the node ",
        atom_to_binary(node()), " names it"
    ]).

shown(Name) when is_atom(Name) -> shown(atom_to_binary(Name));
shown(Name) when is_binary(Name) ->
    case unicode:characters_to_list(Name) of
        Text when is_list(Text) -> string:slice(Text, 0, 255);
        _ -> io_lib:format("~0p", [binary:part(Name, 0, min(64, byte_size(Name)))])
    end;
shown(Term) ->
    io_lib:format("~0tp", [Term], [{chars_limit, 64}]).

text(Name) when is_atom(Name) -> atom_to_binary(Name);
text(Name) when is_binary(Name) -> Name;
text(_) -> <<>>.

fits(_, ?ANY) ->
    true;
fits(Text, [Whole]) ->
    Text =:= Whole;
fits(Text, [First | Rest]) ->
    case Text of
        <<First:(byte_size(First))/binary, More/binary>> -> fits_rest(More, Rest);
        _ -> false
    end.

%% Each part where it comes first, the last one at the end.
fits_rest(Text, [Last]) ->
    Before = byte_size(Text) - byte_size(Last),
    Before >= 0 andalso binary:part(Text, Before, byte_size(Last)) =:= Last;
fits_rest(Text, [<<>> | Rest]) ->
    fits_rest(Text, Rest);
fits_rest(Text, [Part | Rest]) ->
    case binary:split(Text, Part) of
        [_, More] -> fits_rest(More, Rest);
        [_] -> false
    end.
