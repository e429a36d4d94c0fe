%% SPDX-License-Identifier: Apache-2.0
%% @doc Labels of workers on other machines, such as `gpu=1': what they are, and whether some of
%% them are those that are wanted. Pure.
%%
%% Names and values are texts. On a command line everything is one, so `1', `"1"' and `<<"1">>' are
%% the same value, and `true' is `"true"'.
-module(hornbeam_labels).

-export([check/1, decode/1, encode/1, split/1, are_in/2, format/1]).
-export_type([labels/0]).

%% UTF-8.
-type labels() :: #{Name :: binary() => Value :: binary()}.

-define(MOST, 64).
-define(MAX_BYTES, 255).

%% @doc The labels in their one form.
-spec check(term()) -> {ok, labels()} | error.
check(Labels) when is_map(Labels), map_size(Labels) =< ?MOST ->
    Pairs = [{text(Name), text(Value)} || {Name, Value} <- maps:to_list(Labels)],
    Good = fun({Name, Value}) -> is_binary(Name) andalso Name =/= <<>> andalso is_binary(Value) end,
    Map = maps:from_list(Pairs),
    case lists:all(Good, Pairs) andalso map_size(Map) =:= map_size(Labels) of
        true -> {ok, Map};
        false -> error
    end;
check(_) ->
    error.

text(Value) when is_integer(Value), Value >= -16#8000000000000000, Value =< 16#7FFFFFFFFFFFFFFF ->
    integer_to_binary(Value);
text(Value) when is_atom(Value) -> short(atom_to_binary(Value));
text(Value) ->
    case hornbeam_options_type:text(Value) of
        {ok, Text} -> short(Text);
        error -> error
    end.

short(Text) when byte_size(Text) =< ?MAX_BYTES -> Text;
short(_) -> error.

%% @doc As they stand in the name of a service: `gpu=1&zone=a', percent-encoded (RFC 3986, 2.1).
-spec encode(labels()) -> binary().
encode(Labels) ->
    Pairs = [[quote(Name), $=, quote(Value)] || {Name, Value} <- lists:sort(maps:to_list(Labels))],
    iolist_to_binary(lists:join($&, Pairs)).

quote(Text) -> uri_string:quote(Text).

-spec decode(binary()) -> {ok, labels()} | error.
decode(<<>>) ->
    {ok, #{}};
decode(Text) ->
    Pairs = [binary:split(Pair, <<"=">>) || Pair <- binary:split(Text, <<"&">>, [global])],
    try maps:from_list([{uri_string:unquote(N), uri_string:unquote(V)} || [N, V] <- Pairs]) of
        Labels when map_size(Labels) =:= length(Pairs) -> check(Labels);
        _ -> error
    catch
        throw:{error, _, _} -> error
    end.

%% @doc `Labels/Path': encoded labels, the path of a handler. What are none are labels that nobody
%% has.
-spec split(binary()) -> {Path :: binary(), labels()}.
split(Target) ->
    case binary:split(Target, <<"/">>) of
        [Encoded, Path] ->
            case decode(Encoded) of
                {ok, Labels} -> {Path, Labels};
                error -> {Path, #{<<>> => Encoded}}
            end;
        [_] ->
            {<<>>, #{<<>> => Target}}
    end.

%% @doc Whether all the wanted ones are there, with these values.
-spec are_in(Wanted :: labels(), Labels :: labels()) -> boolean().
are_in(Wanted, Labels) ->
    maps:fold(fun(Name, Value, Found) -> Found andalso has(Name, Value, Labels) end, true, Wanted).

has(Name, Value, Labels) ->
    case Labels of
        #{Name := Value} -> true;
        #{} -> false
    end.

%% @doc For people: `gpu=1, zone=a'.
-spec format(labels()) -> binary().
format(Labels) ->
    Texts = [[Name, $=, Value] || {Name, Value} <- lists:sort(maps:to_list(Labels))],
    iolist_to_binary(lists:join(", ", Texts)).
